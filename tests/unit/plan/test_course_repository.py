"""An author's repository: what it has to be, and getting it without changing anything where it comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.base.shell import run
from harness.plan import course_repository as repository
from harness.plan.course_repository import (
    check_out,
    describe,
    is_url,
    name_of,
    parse_course,
    read_repository,
    without_credentials,
)

ROOT = Path(__file__).parents[3]
DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY . ${HOME}/\n"
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{0:064}\nsize 886\n"
OLD = LFS.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2").replace("\n", "\r\n")
COURSE = {"Dockerfile": DOCKERFILE, "intro.ipynb": NOTEBOOK}


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def git(directory: Path, *args: str) -> str:
    who = ("-c", "user.name=Author", "-c", "user.email=author@example.org")
    return run(["git", "-C", directory, *who, *args], timeout=30).strip()


def commit(directory: Path) -> None:
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "more")


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """A course's work tree with one commit."""
    directory = write(tmp_path / "course_intro", {**COURSE, ".gitignore": "*.log\nscratch/\n"})
    git(directory, "init", "--quiet", "--initial-branch", "main")
    commit(directory)
    return directory


def files(directory: Path) -> set[str]:
    """What is in a directory, but for what git and check_out keep of git's own."""
    found = (file.relative_to(directory) for file in directory.rglob("*") if file.is_symlink() or file.is_file())
    return {file.as_posix() for file in found if ".git" not in file.parts}


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(HarnessError) as error:
        work()
    return str(error.value)


def problems(directory: Path, tag: str = "intro") -> list[str]:
    """What read_repository has against a directory."""
    head, *lines = refusal(lambda: read_repository(directory, tag)).splitlines()
    assert head == f"Course {tag} cannot be built:"
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


def problem(directory: Path, tag: str = "intro") -> str:
    [only] = problems(directory, tag)
    return only


class TestReadRepository:
    @pytest.mark.parametrize("name", ["template", "data_science_example", "gpu_example"])
    def test_our_examples_are_repositories(self, name: str) -> None:
        found = read_repository(ROOT / "courses" / name, name)
        assert (found.path, found.tag) == (ROOT / "courses" / name, name)
        assert found.notebooks

    def test_notebooks_are_all_but_the_hidden_ones(self, tmp_path: Path) -> None:
        names = ["z.ipynb", "a/b c/été.ipynb", "a/.ipynb_checkpoints/z-checkpoint.ipynb", ".old/y.ipynb", ".x.ipynb"]
        write(tmp_path, {**COURSE, **dict.fromkeys(names, NOTEBOOK), "a/notes.txt": ""})
        assert read_repository(tmp_path, "t").notebooks == ("a/b c/été.ipynb", "intro.ipynb", "z.ipynb")

    def test_all_that_is_wrong_is_said_at_once(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.ipynb": "", "b.ipynb": "{}"})
        found = problems(tmp_path, "Intro")
        assert [line.partition(":")[0] for line in found] == [
            "the tag 'Intro'",
            "no Dockerfile at its top",
            "a.ipynb",
            "b.ipynb",
        ]

    def test_no_such_directory(self, tmp_path: Path) -> None:
        assert problem(tmp_path / "x") == f"{tmp_path}/x does not exist"
        (tmp_path / "y").touch()
        assert problem(tmp_path / "y") == f"{tmp_path}/y is not a directory"

    @pytest.mark.parametrize("tag", ["uai_source-uai.0a", "mitxt-6.3710.3x", "a", "a" * 63])
    def test_tags_that_are_labels(self, tag: str, tmp_path: Path) -> None:
        assert read_repository(write(tmp_path, COURSE), tag).tag == tag

    @pytest.mark.parametrize("tag", ["", "my course", "_a", ".a", "a-", "a/b", "é", "a\n", "a" * 64])
    def test_tags_that_are_none(self, tag: str, tmp_path: Path) -> None:
        message = refusal(lambda: read_repository(write(tmp_path, COURSE), tag))
        assert f"the tag {tag!r}: an image's tag that is a Kubernetes label too has at most 63 letters" in message

    def test_tag_with_upper_case(self, tmp_path: Path) -> None:
        found = problem(write(tmp_path, COURSE), "UAI.0")
        assert "it would open base_authoring_image. Give it in lower case" in found

    def test_no_dockerfile(self, tmp_path: Path) -> None:
        assert problem(write(tmp_path, {"a.ipynb": NOTEBOOK})).startswith("no Dockerfile at its top")

    @pytest.mark.parametrize(
        "line", ["", "# COPY . ${HOME}/", "COPY --from=build /x /x", "RUN echo COPY it", "COPYING . /"]
    )
    def test_dockerfile_that_copies_nothing(self, line: str, tmp_path: Path) -> None:
        write(tmp_path, {**COURSE, "Dockerfile": f"FROM x\n{line}\n"})
        assert problem(tmp_path).endswith("Add: COPY --chown=${NB_UID}:100 . ${HOME}/")

    @pytest.mark.parametrize("line", ["copy . /", "  COPY --chown=1000:100 . /", "ADD . /", 'COPY [".", "/a b/"]'])
    def test_dockerfile_that_copies(self, line: str, tmp_path: Path) -> None:
        assert read_repository(write(tmp_path, {**COURSE, "Dockerfile": f"FROM x\n{line}\n"}), "t")

    @pytest.mark.parametrize(
        "line", ["COPY requirements.txt /tmp/", "COPY ./requirements.txt /tmp/", 'ADD ["requirements.txt", "/tmp/"]']
    )
    def test_requirements_that_the_dockerfile_names(self, line: str, tmp_path: Path) -> None:
        write(tmp_path, {**COURSE, "Dockerfile": f"FROM x\n{line}\n"})
        assert problem(tmp_path).startswith("no requirements.txt, which the Dockerfile names")
        (tmp_path / "requirements.txt").touch()
        assert read_repository(tmp_path, "t")

    @pytest.mark.parametrize("line", ["COPY . /", "# requirements.txt\nCOPY . /", "COPY a/requirements.txt /tmp/"])
    def test_requirements_that_nobody_names(self, line: str, tmp_path: Path) -> None:
        assert read_repository(write(tmp_path, {**COURSE, "Dockerfile": f"FROM x\n{line}\n"}), "t")

    def test_no_notebooks(self, tmp_path: Path) -> None:
        write(tmp_path, {"Dockerfile": DOCKERFILE, ".ipynb_checkpoints/a.ipynb": NOTEBOOK})
        assert problem(tmp_path).startswith("no notebooks: expected at least one file *.ipynb")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "line 1: not JSON: Expecting value"),
            ('{\n "cells": [\n<<<<<<< HEAD\n', "line 3: not JSON: Expecting value"),
            ("[]", "not a notebook: expected an nbformat of 3 or 4, found none"),
            ("{}", "not a notebook: expected an nbformat of 3 or 4, found none"),
            ('{"nbformat": "4"}', "not a notebook: expected an nbformat of 3 or 4, found 4"),
            ('{"nbformat": [4]}', "not a notebook: expected an nbformat of 3 or 4, found [4]"),
            ('{"nbformat": 5}', "not a notebook: expected an nbformat of 3 or 4, found 5"),
            ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a valid notebook: 'cells' is a required"),
            (
                '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
                "not a valid notebook, cells, 1: ",
            ),
        ],
    )
    def test_not_a_notebook(self, text: str, expected: str, tmp_path: Path) -> None:
        write(tmp_path, {**COURSE, "labs/lab 1/a.ipynb": text})
        assert problem(tmp_path).startswith(f"labs/lab 1/a.ipynb: {expected}")

    def test_notebook_that_is_no_text(self, tmp_path: Path) -> None:
        (write(tmp_path, COURSE) / "a.ipynb").write_bytes(b'{"\xff')
        assert problem(tmp_path) == "a.ipynb: not JSON: invalid start byte at byte 2"

    def test_notebook_that_is_a_link_to_nothing(self, tmp_path: Path) -> None:
        (write(tmp_path, COURSE) / "a.ipynb").symlink_to("gone.ipynb")
        assert problem(tmp_path) == "a.ipynb: cannot be read: No such file or directory"

    def test_message_does_not_carry_the_cell(self, tmp_path: Path) -> None:
        cell: dict[str, object] = {
            "cell_type": "code",
            "metadata": {},
            "outputs": "x" * 9999,
            "source": "",
            "execution_count": None,
        }
        document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        assert len(problem(write(tmp_path, {**COURSE, "a.ipynb": json.dumps(document)}))) < 250

    @pytest.mark.parametrize(
        "document",
        [
            {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []},
            {
                "nbformat": 4,
                "nbformat_minor": 5,
                "metadata": {},
                "cells": [{"cell_type": "raw", "metadata": {}, "source": ""}],
            },
            {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []},
            {"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": []},
        ],
        ids=["no cells", "no cell ids", "version 3", "version 4.0"],
    )
    def test_notebooks_that_jupyter_opens(self, document: dict[str, object], tmp_path: Path) -> None:
        assert read_repository(write(tmp_path, {**COURSE, "a.ipynb": json.dumps(document)}), "t")

    @pytest.mark.parametrize(
        "name", ["data/x.csv", "intro.ipynb", ".hidden/model.bin"], ids=["data", "notebook", "hidden"]
    )
    def test_pointer_of_git_lfs(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is named with what brings the file, wherever it is, and no notebook is called damaged for it."""
        monkeypatch.setattr("shutil.which", lambda program: program)
        write(tmp_path, {**COURSE, name: LFS})
        pulled = "run git lfs pull in a work tree, and give that"
        assert problem(tmp_path) == f"{name} is a pointer of Git LFS, not the file itself: {pulled}"

    def test_pointers_are_one_problem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda program: None)
        write(tmp_path, {**COURSE, "a.csv": LFS, "b.csv": LFS, "c.csv": LFS.replace("git-lfs", "hawser"), "d.csv": OLD})
        found = problem(tmp_path)
        assert found.startswith(
            "a.csv is a pointer of Git LFS, not the file itself, and so are 3 more, such as b.csv: "
        )
        assert found.endswith("(install git-lfs first: it is not on this machine)")

    def test_text_about_git_lfs_is_none(self, tmp_path: Path) -> None:
        write(tmp_path, {**COURSE, "README.md": f"A pointer:\n{LFS}", "big.txt": LFS + "x" * 1024})
        assert read_repository(tmp_path, "t")

    def test_pointers_of_git_annex(self, tmp_path: Path) -> None:
        """Locked ones are links into .git, which no copy has; unlocked ones are text."""
        write(tmp_path, {**COURSE, "data/b.csv": "/annex/objects/SHA256E-s886--0.csv\n"})
        (tmp_path / "data/a.csv").symlink_to("../.git/annex/objects/0/1/SHA256E-s886--0.csv/SHA256E-s886--0.csv")
        assert problem(tmp_path).startswith(
            "data/a.csv is a pointer of git-annex, not the file itself, and so is data/b.csv: run git annex get"
        )

    def test_submodule_without_its_files(self, tmp_path: Path) -> None:
        write(tmp_path, {**COURSE, ".gitmodules": '[submodule "d"]\n\tpath = shared/data\n\turl = ../data\n'})
        assert problem(tmp_path) == "shared/data is a submodule without its files: run git submodule update --init"
        write(tmp_path, {"shared/data/x.csv": ""})
        assert read_repository(tmp_path, "t")

    def test_huge(self, tmp_path: Path) -> None:
        for name, size in (("data/small.bin", 10**9), ("data/b.bin", 15 * 10**8), (".git/objects/x", 9 * 10**9)):
            (write(tmp_path, {**COURSE, name: ""}) / name).open("wb").truncate(size)
        found = problem(tmp_path)
        assert found.startswith(
            "more than 2 GB of files, data/b.bin the largest of them (1.5 GB). Keep large data else"
        )
        (tmp_path / "data/b.bin").unlink()
        assert read_repository(tmp_path, "t")


def test_same_but_for_case(tmp_path: Path) -> None:
    course = read_repository(write(tmp_path, {**COURSE, "Lab/a.ipynb": NOTEBOOK, "lab/A.ipynb": NOTEBOOK}), "t")
    assert course.same_but_for_case("Lab/a.ipynb") == ["lab/A.ipynb"]
    assert course.same_but_for_case("intro.ipynb") == []


def test_with_kernel(tmp_path: Path) -> None:
    document = {
        "cells": [],
        "metadata": {"kernelspec": {"name": "ir", "display_name": "R"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    course = read_repository(write(tmp_path, {**COURSE, "r/a.ipynb": json.dumps(document)}), "t")
    assert (course.with_kernel("ir"), course.with_kernel("python3")) == (["r/a.ipynb"], ["intro.ipynb"])


class TestParseCourse:
    @pytest.mark.parametrize(
        ("given", "parsed"),
        [
            ("../course_intro", ("course_intro", "../course_intro")),
            ("/a/course_intro/", ("course_intro", "/a/course_intro/")),
            ("uai.0=../course_intro", ("uai.0", "../course_intro")),
            ("uai.0=.", ("uai.0", ".")),
            ("git@github.mit.edu:ol-notebooks/intro.git", ("intro", "git@github.mit.edu:ol-notebooks/intro.git")),
            ("git@host:intro.git", ("intro", "git@host:intro.git")),
            ("https://host/x/intro", ("intro", "https://host/x/intro")),
            ("t=https://host/x?a=b", ("t", "https://host/x?a=b")),
            ("./a=b", ("a=b", "./a=b")),
            ("file:///a/b=c.git", ("b=c", "file:///a/b=c.git")),
            ("My Course", ("My Course", "My Course")),
        ],
    )
    def test_parsed(self, given: str, parsed: tuple[str, str]) -> None:
        assert parse_course(given) == parsed

    @pytest.mark.parametrize("given", ["https://host/x.git ", " x", "t= x", "t =x", "x\n", "t=https://host/x\t"])
    def test_blank_around(self, given: str) -> None:
        assert "there is a blank around" in refusal(lambda: parse_course(given))

    @pytest.mark.parametrize("given", ["", "t=", "=", "=x"])
    def test_nothing_there(self, given: str) -> None:
        assert "expected [TAG=]REPOSITORY" in refusal(lambda: parse_course(given))

    @pytest.mark.parametrize("given", [".", "..", "../..", "/", "~", "x/.git"])
    def test_nothing_to_make_a_tag_of(self, given: str) -> None:
        assert refusal(lambda: parse_course(given)).endswith(f"Give one: --course TAG={given}")

    def test_no_password_in_a_message(self) -> None:
        message = refusal(lambda: parse_course("https://me:s3cret@host/x.git "))
        assert message == "--course 'https://host/x.git ': there is a blank around 'https://host/x.git '. Remove it."


def test_name_of() -> None:
    assert name_of("x/course_a.b.git/") == "course_a.b"


@pytest.mark.parametrize(
    ("source", "url"),
    [("https://h/x", True), ("file:///x", True), ("git@h:x", True), ("./a:b", False), ("a/b:c", False), ("/x", False)],
)
def test_is_url(source: str, url: bool) -> None:
    assert is_url(source) is url


def test_without_credentials() -> None:
    assert without_credentials("http://a:b@c@h/x ssh://git@h/y") == "http://h/x ssh://git@h/y"


class TestCheckOut:
    def test_work_tree_as_its_author_sees_it(self, work_tree: Path, tmp_path: Path) -> None:
        write(work_tree, {"gone.txt": "", "a b/old.txt": "old"})
        commit(work_tree)
        write(work_tree, {"a b/old.txt": "new", "été.txt": "", "staged.txt": "", "x.log": "", "scratch/x": ""})
        git(work_tree, "add", "staged.txt")
        (work_tree / "gone.txt").unlink()
        (work_tree / "link").symlink_to("a b")
        before = git(work_tree, "status", "--porcelain", "--ignored")
        found = check_out("course_intro", tmp_path / "into", tmp_path)
        assert found == tmp_path / "into"
        assert files(found) == {*COURSE, ".gitignore", "a b/old.txt", "été.txt", "staged.txt", "link"}
        assert (found / "a b/old.txt").read_text() == "new"
        assert (found / "link").readlink() == Path("a b")
        assert git(work_tree, "status", "--porcelain", "--ignored") == before
        assert read_repository(found, "t").notebooks == ("intro.ipynb",)

    def test_directory_in_a_work_tree(self, work_tree: Path, tmp_path: Path) -> None:
        write(work_tree, {"sub/a/x": "", "sub/x.log": ""})
        assert files(check_out("sub", tmp_path / "into", work_tree)) == {"a/x"}

    def test_directory_that_a_work_tree_ignores(self, work_tree: Path, tmp_path: Path) -> None:
        write(work_tree, {"scratch/a/x": ""})
        assert files(check_out("scratch", tmp_path / "into", work_tree)) == {"a/x"}

    def test_directory_in_a_work_tree_beyond_the_ceiling_of_git(
        self, work_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(work_tree, {"scratch/a/x": ""})
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(work_tree))
        into = check_out("scratch", tmp_path / "into", work_tree)
        assert (files(into), describe(into)) == ({"a/x"}, "unversioned")

    def test_repository_in_a_repository(self, work_tree: Path, tmp_path: Path) -> None:
        write(work_tree, {"inner/x": "", "inner/x.tmp": "", "inner/.gitignore": "*.tmp"})
        git(work_tree / "inner", "init", "--quiet")
        assert {"inner/x", "inner/.gitignore"} == {
            name for name in files(check_out(str(work_tree), tmp_path / "into", tmp_path)) if name.startswith("inner/")
        }

    def test_submodule(self, work_tree: Path, tmp_path: Path) -> None:
        git(tmp_path, "clone", "--quiet", str(work_tree), "other")
        git(
            work_tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "other"), "sub"
        )
        found = files(check_out("course_intro", tmp_path / "into", tmp_path))
        assert {name for name in found if name.startswith("sub/")} == {
            f"sub/{name}" for name in (*COURSE, ".gitignore")
        }

    def test_plain_directory(self, tmp_path: Path) -> None:
        left_out = [
            ".venv/x",
            "node_modules/a/x",
            "a/__pycache__/x",
            ".ipynb_checkpoints/x",
            ".cache/x",
            ".ruff_cache/x",
        ]
        source = write(tmp_path / "plain", {**COURSE, ".dockerignore": "", "a/x": "", **dict.fromkeys(left_out, "")})
        os.mkfifo(source / "pipe")
        assert files(check_out("plain", tmp_path / "into", tmp_path)) == {*COURSE, ".dockerignore", "a/x"}

    def test_what_was_there_before_is_gone(self, work_tree: Path, tmp_path: Path) -> None:
        write(tmp_path / "into", {"old.txt": "", ".git/describe_ref": "old"})
        found = check_out(str(work_tree), tmp_path / "into", tmp_path)
        assert "old.txt" not in files(found)
        assert describe(found) == describe(work_tree)

    @pytest.mark.parametrize("source", ["bare", "bare.git", "file://{}/bare", "../{0.name}/bare", "course_intro/.git"])
    def test_repository_to_clone(self, source: str, work_tree: Path, tmp_path: Path) -> None:
        for name in ("bare", "bare.git"):
            git(tmp_path, "clone", "--quiet", "--bare", str(work_tree), name)
        write(work_tree, {"later.txt": ""})
        found = check_out(source.format(tmp_path), tmp_path / "into", tmp_path)
        assert files(found) == {*COURSE, ".gitignore"}
        assert sorted(file.name for file in (found / ".git").iterdir()) == ["describe_ref"]
        assert describe(found) == describe(work_tree)

    def test_clone_that_fails_names_the_url_and_what_git_said(self, tmp_path: Path) -> None:
        message = refusal(lambda: check_out(f"file://{tmp_path}/none", tmp_path / "into", tmp_path))
        assert message.startswith(f"git clone file://{tmp_path}/none: exit code 128.\n  | fatal: ")
        assert "does not exist" in message or "not appear to be a git repository" in message

    def test_failed_clone_shows_no_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        message = refusal(lambda: check_out("http://me:s3cret@127.0.0.1:1/x.git", tmp_path / "into", tmp_path))
        assert message.startswith("git clone http://127.0.0.1:1/x.git: exit code 128.")
        assert "s3cret" not in message

    def test_no_such_directory(self, tmp_path: Path) -> None:
        message = refusal(lambda: check_out("x", tmp_path / "into", tmp_path))
        assert message == f"--course x: {tmp_path}/x does not exist. Expected a directory or a git URL"

    def test_nothing_is_deleted_that_is_asked_for(self, tmp_path: Path) -> None:
        write(tmp_path / "into/course", COURSE)
        message = refusal(lambda: check_out("into/course", tmp_path / "into", tmp_path))
        assert message.startswith("--course into/course: this is the directory of a run's own copy")
        assert files(tmp_path / "into/course") == set(COURSE)

    def test_huge_directory_is_not_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(repository, "LARGEST", 1000)
        write(tmp_path / "plain", {"a": "a" * 600, "b": "b" * 600})
        message = refusal(lambda: check_out("plain", tmp_path / "into", tmp_path))
        assert "more than 1e-06 GB of files, b the largest" in message
        assert not (tmp_path / "into").exists()


class TestDescribe:
    def test_commit_and_tag(self, work_tree: Path) -> None:
        short = git(work_tree, "rev-parse", "--short", "HEAD")
        assert describe(work_tree) == short
        git(work_tree, "tag", "release/v1+a")
        assert describe(work_tree) == "release-v1-a"
        write(work_tree, {"intro.ipynb": "changed"})
        assert describe(work_tree) == "release-v1-a-dirty"
        commit(work_tree)
        assert describe(work_tree).startswith("release-v1-a-1-g")

    def test_its_end_stays_of_what_is_too_long(self, work_tree: Path) -> None:
        git(work_tree, "tag", "é" + "x" * 149 + "end")
        assert describe(work_tree) == "x" * 125 + "end"

    def test_no_git(self, tmp_path: Path) -> None:
        write(tmp_path / "plain", COURSE)
        assert describe(tmp_path / "plain") == "unversioned"
        assert describe(check_out("plain", tmp_path / "into", tmp_path)) == "unversioned"

    def test_no_commit_yet(self, tmp_path: Path) -> None:
        git(write(tmp_path / "new", COURSE), "init", "--quiet")
        assert describe(tmp_path / "new") == "unversioned"

    def test_as_concourse_leaves_it(self, tmp_path: Path) -> None:
        assert describe(write(tmp_path, {".git/describe_ref": "v2-1-gabc\n"})) == "v2-1-gabc"

    def test_broken_repository(self, work_tree: Path) -> None:
        write(work_tree, {".git/config": "["})
        assert refusal(lambda: describe(work_tree)).startswith(
            f"git rev-parse in {work_tree}: exit code 128.\n  | fatal"
        )
