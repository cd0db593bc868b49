"""Get an author's course repository, and check it before an image is built from it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import nbformat

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run
from harness.plan.contract import DEFAULT_COURSE

GB = 10**9
LARGEST = 2 * GB
"""Most bytes of files, without git's own: they are copied into the build, the image, the registry and every node, and a
student's server has ten minutes to start (singleuser.startTimeout), in which a node may have to pull the image."""
CLONE_TIMEOUT = 300.0
GIT_TIMEOUT = 60.0
"""Seconds."""
UNVERSIONED = "unversioned"
DESCRIBE_REF = Path(".git/describe_ref")
"""File in which Concourse's git resource writes the result of `git describe`: production's additional tag."""

TAG = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""The value of a Kubernetes label, which is always a tag too; a tag may also be longer, or begin with "_"."""
NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_.-]")
LONGEST_TAG = 128
"""Characters of an image's tag (OCI distribution specification, "Pulling manifests")."""

ON_CUDA = re.compile(r"^\s*(FROM\s|ARG\s+\w+\s*=).*cuda", re.IGNORECASE | re.MULTILINE)
COPIES = re.compile(r"^\s*(COPY|ADD)\s(?!.*--from=)", re.IGNORECASE | re.MULTILINE)
WANTS_REQUIREMENTS = re.compile(r"""[\s=,"'\[](\./)?requirements\.txt\b""")
"""requirements.txt at the repository's top, not a path in the image such as /tmp/requirements.txt."""

LFS_POINTER = re.compile(rb"version (https://(git-lfs|hawser)\.github\.com/spec/|http://git-media\.io/v/)")
LARGEST_POINTER = 1024
"""A pointer has fewer bytes (git-lfs, docs/spec.md)."""
ANNEXED = "/.git/annex/objects/"
"""Part of the target of a link that git-annex has in the place of a file."""

SCHEMAS = {3: 0, 4: 4}
"""Versions of notebooks that Jupyter opens, each with the newest minor version to validate against. 4.5 adds only cell
ids, and Jupyter adds missing ones itself."""
NOT_THE_COURSE = (".git", ".venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".*cache", ".tox")
"""Directories that a plain copy leaves out: tools create them beside an author's files."""


@dataclass(frozen=True)
class Repository:
    """A course repository that an image can be built of."""

    path: Path
    tag: str
    """Tag of the course's image, and the course's name in a link."""
    notebooks: tuple[str, ...]
    """Sorted paths from the repository's root, with slashes; without hidden ones, which Jupyter does not open."""

    def __str__(self) -> str:
        gpu = ", with a GPU" if self.needs_gpu else ""
        return f"{self.tag} ({len(self.notebooks)} notebook{'s' * (len(self.notebooks) != 1)}{gpu})"

    @property
    def files(self) -> list[str]:
        """Sorted paths of all its files, with slashes."""
        return sorted(file.as_posix() for file in _walk(self.path, (".git",)))

    def with_kernel(self, kernel: str) -> list[str]:
        """Return the notebooks that name a kernel as theirs."""
        metadata = {name: json.loads((self.path / name).read_bytes())["metadata"] for name in self.notebooks}
        return [name for name, its in metadata.items() if its.get("kernelspec", {}).get("name", "python3") == kernel]

    def same_but_for_case(self, notebook: str) -> list[str]:
        """Return the other notebooks whose paths differ from one's in upper and lower case alone."""
        return [name for name in self.notebooks if name != notebook and name.casefold() == notebook.casefold()]

    @property
    def needs_gpu(self) -> bool:
        """True for a course on an image with CUDA, as all courses are to which production gives a GPU."""
        return bool(ON_CUDA.search(_instructions(self.path / "Dockerfile")))

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags under which the build job pushes the image: the course's, and its version's where there is one."""
        version = describe(self.path)
        return (self.tag,) if version == UNVERSIONED else (self.tag, version)


def parse_course(given: str) -> tuple[str, str]:
    """Return tag and source of `--course [TAG=]REPOSITORY`; a directory a=b has to be given as ./a=b.

    Raises:
        HarnessError: one of them is empty or has blanks around it, or no tag can be made from the source.
    """
    before, equals, after = given.partition("=")
    named = bool(equals) and "/" not in before and ":" not in before
    tag, source = (before, after) if named else ("", given)
    shown = without_credentials(given)
    for part in (tag, source):
        if part != part.strip():
            raise HarnessError(f"--course {shown!r}: there is a blank around {without_credentials(part)!r}. Remove it.")
    if not source or (named and not tag):
        raise HarnessError(f"--course {shown!r}: expected [TAG=]REPOSITORY, a directory or a git URL")
    tag = tag or name_of(source)
    if not tag:
        raise HarnessError(f"--course {shown!r}: no tag can be made from it. Give one: --course TAG={shown}")
    return tag, source


def name_of(source: str) -> str:
    """Return a course's default tag: the last part of a path or git URL without ".git"; empty for one such as "..".

    A leading "course_" stays, as it may be part of the tag.
    """
    name = re.split(r"[/:]", source.rstrip("/"))[-1].removesuffix(".git")
    return "" if name in (".", "..", "~") else name


def without_credentials(text: str) -> str:
    """Return a text without the user and password, or token, of each web address in it."""
    return re.sub(r"(https?://)[^/\s]+@", r"\1", text)


def check_out(source: str, into: Path, cwd: Path) -> Path:
    """Copy a course repository into a directory, without a change to the source.

    A git URL or a bare repository gives its default branch. A work tree gives its files as they are, uncommitted ones
    too, without those that git ignores. Another directory gives its files without those of tools. Of git's own files
    only describe_ref stays, which `describe` reads, as with Concourse.

    Args:
        into: the directory, which is created anew.
        cwd: base of relative paths.

    Raises:
        HarnessError: there is no such repository, git cannot read it, or it is too large.
    """
    path = cwd / Path(source).expanduser()
    remote = is_url(source)
    if not remote:
        _check_source(source, path, into)
    if into.exists():
        shutil.rmtree(into)
    if remote or path.name.endswith(".git") or _is_git_directory(path):
        _clone(source if remote else str(path), into)
        ref = describe(into)
        shutil.rmtree(into / ".git")
    else:
        ref = describe(path)
        _copy(path, into)
    (into / DESCRIBE_REF).parent.mkdir(parents=True)
    (into / DESCRIBE_REF).write_text(f"{ref}\n")
    return into


def is_url(source: str) -> bool:
    """Return True for a URL: a colon before the first slash, as in https://host/x or host:x (git-clone)."""
    return ":" in source.partition("/")[0]


def describe(path: Path) -> str:
    """Return the immutable tag of a checkout: `git describe`, with the characters that an image's tag may have.

    "unversioned" outside git and before the first commit.

    Raises:
        HarnessError: git cannot read the repository.
    """
    left_by_concourse = path / DESCRIBE_REF
    if left_by_concourse.is_file():
        ref = left_by_concourse.read_text().strip()
    elif _is_work_tree(path):
        # Untracked files need no "-dirty": until they are added, no commit has them.
        has_commits = bool(_git(path, "rev-list", "--all", "--max-count=1"))
        ref = _git(path, "describe", "--tags", "--always", "--dirty").strip() if has_commits else ""
    else:
        ref = ""
    # The end, because it differs between commits.
    return NOT_IN_A_TAG.sub("-", ref)[-LONGEST_TAG:].lstrip(".-") or UNVERSIONED


def read_repository(path: Path, tag: str) -> Repository:
    """Read a checkout as a course repository.

    Raises:
        HarnessError: it is none; the message has each problem, a line each.
    """
    problems = list(_tag_problems(tag))
    notebooks: tuple[str, ...] = ()
    if path.is_dir():
        files = sorted(_walk(path, (".git",)))
        notebooks = tuple(file.as_posix() for file in files if file.suffix == ".ipynb" and not _is_hidden(file))
        absent = [*_pointers(path, files)]
        present = [name for name in notebooks if name not in {file.as_posix() for file, _ in absent}]
        problems += [*_dockerfile_problems(path), *_pointer_problems(absent), *_submodule_problems(path)]
        problems += ["no notebooks: expected at least one file *.ipynb outside hidden directories"] * (not notebooks)
        problems += [*_notebook_problems(path, present), *_size_problems(path, files)]
    else:
        problems.append(f"{path} is not a directory" if path.exists() else f"{path} does not exist")
    if problems:
        raise HarnessError(f"Course {tag} cannot be built:" + "".join(f"\n  - {problem}" for problem in problems))
    return Repository(path, tag, notebooks)


def _tag_problems(tag: str) -> Iterator[str]:
    if not TAG.fullmatch(tag):
        yield (
            f"the tag {tag!r}: an image's tag that is a Kubernetes label too has at most 63 letters, digits, '-', '_' "
            "and '.', and begins and ends with a letter or a digit. Give another: --course TAG=REPOSITORY"
        )
    if tag != tag.lower():
        yield (
            f"the tag {tag!r}: the spawner makes lower case of a link's course, so it would open {DEFAULT_COURSE}. "
            "Give it in lower case: --course TAG=REPOSITORY"
        )


def _dockerfile_problems(path: Path) -> Iterator[str]:
    dockerfile = path / "Dockerfile"
    if not dockerfile.is_file():
        yield "no Dockerfile at its top: courses/template has one to begin with"
        return
    text = _instructions(dockerfile)
    if not COPIES.search(text):
        yield "Dockerfile copies no files, so no notebook is in the image. Add: COPY --chown=${NB_UID}:100 . ${HOME}/"
    if WANTS_REQUIREMENTS.search(text) and not (path / "requirements.txt").is_file():
        yield "no requirements.txt, which the Dockerfile names: add it, even with nothing in it"


def _instructions(dockerfile: Path) -> str:
    """Return a Dockerfile without its comments."""
    lines = dockerfile.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _pointers(root: Path, files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the files that stand for a file kept elsewhere, each with the command of what keeps it."""
    for file in files:
        there = root / file
        if there.is_symlink():
            if ANNEXED in f"/{there.readlink().as_posix()}/" and not there.exists():
                yield file, "git annex get"
        elif there.is_file() and there.stat().st_size < LARGEST_POINTER:
            start = there.read_bytes()[:100]
            if LFS_POINTER.match(start):
                yield file, "git lfs pull"
            elif start.startswith(b"/annex/objects/"):
                yield file, "git annex get"


def _pointer_problems(absent: Iterable[tuple[Path, str]]) -> Iterator[str]:
    for command, tool in (("git lfs pull", "Git LFS"), ("git annex get", "git-annex")):
        names = [file.as_posix() for file, needs in absent if needs == command]
        if not names:
            continue
        others = names[1] if len(names) == 2 else f"{len(names) - 1} more, such as {names[1]}" if names[1:] else ""
        more = f", and so {'is' if len(names) == 2 else 'are'} {others}" * bool(others)
        program = command.rpartition(" ")[0].replace(" ", "-")
        install = "" if shutil.which(program) else f" (install {program} first: it is not on this machine)"
        yield (
            f"{names[0]} is a pointer of {tool}, not the file itself{more}: "
            f"run {command} in a work tree, and give that{install}"
        )


def _submodule_problems(root: Path) -> Iterator[str]:
    modules = root / ".gitmodules"
    named = re.findall(
        r"^\s*path\s*=\s*(.+?)\s*$", modules.read_text(errors="replace") if modules.is_file() else "", re.M
    )
    for name in named:
        if not any((root / name).glob("*")):
            yield f"{name} is a submodule without its files: run git submodule update --init"


def _notebook_problems(path: Path, notebooks: Iterable[str]) -> Iterator[str]:
    for name in notebooks:
        problem = _why_not_a_notebook(path / name)
        if problem:
            yield f"{name}: {problem}"


def _why_not_a_notebook(file: Path) -> str:
    """Return the reason for which Jupyter would not open a file as a notebook; empty where it would."""
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except json.JSONDecodeError as error:
        return f"line {error.lineno}: not JSON: {error.msg}"
    except UnicodeDecodeError as error:
        return f"not JSON: {error.reason} at byte {error.start}"
    version = document.get("nbformat") if isinstance(document, dict) else None
    if not isinstance(version, int) or version not in SCHEMAS:
        return f"not a notebook: expected an nbformat of 3 or 4, found {version or 'none'}"
    minor = document.get("nbformat_minor")
    minor = min(minor, SCHEMAS[version]) if isinstance(minor, int) else SCHEMAS[version]
    try:
        nbformat.validate(document, version=version, version_minor=minor, relax_add_props=True)
    except nbformat.ValidationError as error:
        where = "".join(f", {part + 1 if isinstance(part, int) else part}" for part in error.relative_path)
        return f"not a valid notebook{where}: {_shortened(error.message)}"
    return ""


def _shortened(text: str, length: int = 120) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _size_problems(root: Path, files: Iterable[Path]) -> Iterator[str]:
    total, largest = 0, (0, Path())
    for file in files:
        size = (root / file).lstat().st_size
        total, largest = total + size, max(largest, (size, file))
        if total > LARGEST:
            yield (
                f"more than {LARGEST / GB:g} GB of files, {largest[1]} the largest of them ({largest[0] / GB:.1f} GB). "
                "Keep large data elsewhere, and have the notebook fetch what it needs"
            )
            return


def _check_source(source: str, path: Path, into: Path) -> None:
    if not path.is_dir():
        found = "is not a directory" if path.exists() else "does not exist"
        raise HarnessError(f"--course {source}: {path} {found}. Expected a directory or a git URL")
    if path.resolve().is_relative_to(into.resolve()):
        raise HarnessError(f"--course {source}: this is the directory of a run's own copy. Give the repository itself.")


def _clone(source: str, into: Path) -> None:
    command = ["git", "clone", "--quiet", "--recurse-submodules", "--", source, str(into)]
    try:
        # Without a prompt, a repository whose password git does not have fails at once.
        run(command, timeout=CLONE_TIMEOUT, env={"GIT_TERMINAL_PROMPT": "0"}, what=f"git clone {source}")
    except CommandError as error:
        raise HarnessError(without_credentials(str(error))) from None


def _copy(path: Path, into: Path) -> None:
    # Git lists nothing of a directory that it ignores as a whole.
    files = sorted(set(_seen_by_git(path))) if _is_work_tree(path) else []
    files = files or sorted(_walk(path, NOT_THE_COURSE))
    for problem in _size_problems(path, files):
        raise HarnessError(f"--course {path}: {problem}")
    into.mkdir(parents=True)
    for file in files:
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(path / file, into / file, follow_symlinks=False)
        except OSError as error:
            raise HarnessError(f"--course {path}: {file} cannot be copied: {error.strerror}") from error


def _seen_by_git(path: Path) -> Iterator[Path]:
    """Yield the files of a work tree that are not ignored, with those of submodules and repositories inside it."""
    for name in _git(path, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        file = path / name
        if _is_file(file):
            yield Path(name)
        elif name and (file / ".git").exists():
            yield from (Path(name) / inner for inner in _seen_by_git(file))


def _walk(root: Path, without: tuple[str, ...]) -> Iterator[Path]:
    """Yield files and symbolic links under a directory, relative to it; none in directories named as in `without`."""
    for directory, subdirectories, names in os.walk(root):
        here = Path(directory)
        subdirectories[:] = [name for name in subdirectories if not any(fnmatch(name, skipped) for skipped in without)]
        for name in (*names, *subdirectories):
            if _is_file(here / name):
                yield (here / name).relative_to(root)


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_work_tree(path: Path) -> bool:
    inside = [parent / ".git" for parent in (path, *path.resolve().parents)]
    if not any(git.is_file() or _is_git_directory(git) for git in inside):
        return False
    try:
        return _git(path, "rev-parse", "--is-inside-work-tree").strip() == "true"
    except CommandError as error:
        # It looks no further up than GIT_CEILING_DIRECTORIES, nor into another file system.
        if "not a git repository (or any" in error.output:
            return False
        raise


def _is_git_directory(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir()


def _git(path: Path, *args: str) -> str:
    # Without optional locks git does not even refresh the index of the author's work tree.
    settings = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return run(["git", "-C", path, *args], timeout=GIT_TIMEOUT, env=settings, what=f"git {args[0]} in {path}")
