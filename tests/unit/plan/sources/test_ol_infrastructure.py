"""A checkout of mitodl/ol-infrastructure: what is read of it, and how one that is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.plan.sources.ol_infrastructure import (
    PIPELINES,
    PRE_PULLER,
    SPAWNER,
    VERSIONS,
    BuildJob,
    authoring_values,
    read,
    values,
)
from tests.unit.fakes import OL_INFRASTRUCTURE
from tests.unit.fakes import ol_infrastructure as stand_in

APPLICATION = SPAWNER.parent
COURSE_IMAGES = "610119931565.dkr.ecr.us-east-1.amazonaws.com/ol-course-notebooks"
COURSES = {"base_authoring_image", "poetry", "prose_1.intro", "prose_1.2"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return stand_in(tmp_path / "theirs")


def refusal(checkout: Path) -> str:
    with pytest.raises(HarnessError) as error:
        read(checkout)
    message = str(error.value)
    assert len(message.splitlines()) <= 2, message
    return message


class TestRead:
    def test_lists(self, checkout: Path) -> None:
        found = read(checkout)
        assert found.known == found.pre_pulled == found.built == COURSES

    def test_build_jobs(self, checkout: Path) -> None:
        first, second, *_ = read(checkout).build_jobs
        assert first == BuildJob("base_authoring_image", s3_bucket="b", s3_object_path="a.tar", line=3)
        assert second == BuildJob("poetry", "poetry", "git@git.example:poetry.git", line=4)

    def test_the_rest(self, checkout: Path) -> None:
        found = read(checkout)
        assert (found.checkout, found.spawner, found.chart_version) == (checkout, checkout / SPAWNER, "1.2.3")
        assert found.students.menu_override == OL_INFRASTRUCTURE[str(APPLICATION / "menu_override.json")]
        assert found.authors.disabled_extensions == "{}"
        assert found.logo == "<svg><title>Theirs</title></svg>"

    def test_it_says_what_it_found(self, checkout: Path) -> None:
        assert str(read(checkout)) == f"{checkout}: 4 courses known, 4 pre-pulled, 4 built, chart 1.2.3"

    def test_nothing_is_run(self, checkout: Path, tmp_path: Path) -> None:
        for name in (SPAWNER, PRE_PULLER, PIPELINES, VERSIONS):
            with (checkout / name).open("a") as file:
                file.write(f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n")
        read(checkout)
        assert not (tmp_path / "ran").exists()

    def test_renamed_lists(self, checkout: Path) -> None:
        (checkout / SPAWNER).write_text("COURSES = {'base_authoring_image', 'one'}\n")
        (checkout / PRE_PULLER).write_text("IMAGES = ['base_authoring_image']\nIMAGES += ['two']\n")
        found = read(checkout)
        assert found.known == {"base_authoring_image", "one"}
        assert found.pre_pulled == {"base_authoring_image", "two"}

    def test_jobs_with_constants_and_without_a_repository(self, checkout: Path) -> None:
        (checkout / PIPELINES).write_text(
            "ORG = 'git@git.example'\n"
            "jobs = [CourseImageInfo(image_name='one', repo_uri=f'{ORG}:one')]\n"
            "jobs.append(CourseImageInfo(image_name='two', repo_uri=None, s3_bucket='b', extra=more()))\n"
        )
        one, two = read(checkout).build_jobs
        assert (one.repo_uri, two.repo_uri, two.s3_bucket, two.line) == ("git@git.example:one", None, "b", 3)


class TestValues:
    def test_students(self, checkout: Path) -> None:
        found = values(read(checkout))
        assert found == {
            "hub.extraFiles.mit_learn_svg": {
                "mountPath": "/opt/mit_learn.svg",
                "stringData": "<svg><title>Theirs</title></svg>",
            },
            "singleuser.extraFiles.menu_override": {
                "mountPath": "/opt/conda/share/jupyter/lab/settings/overrides.json",
                "stringData": '{"menus": "few, and\\nfewer"}',
            },
            "singleuser.extraFiles.disabled_extensions": {
                "mountPath": "/home/jovyan/.jupyter/labconfig/page_config.json",
                "stringData": '{"disabledExtensions": {"a": true}}',
            },
            "prePuller.extraImages": {
                "base-authoring-image": {"name": COURSE_IMAGES, "tag": "base_authoring_image"},
                "poetry": {"name": COURSE_IMAGES, "tag": "poetry"},
                "prose-1-2": {"name": COURSE_IMAGES, "tag": "prose_1.2"},
                "prose-1-intro": {"name": COURSE_IMAGES, "tag": "prose_1.intro"},
            },
        }

    def test_authors(self, checkout: Path) -> None:
        found = authoring_values(read(checkout))
        assert set(found) == set(values(read(checkout))) - {"prePuller.extraImages"}
        assert found["singleuser.extraFiles.menu_override"]["stringData"] == '{"menus": "all"}'
        assert found["singleuser.extraFiles.disabled_extensions"]["stringData"] == "{}"


class TestRefused:
    def test_another_directory(self, tmp_path: Path) -> None:
        assert refusal(tmp_path).endswith("found none; is this a checkout of mitodl/ol-infrastructure?")

    @pytest.mark.parametrize("name", OL_INFRASTRUCTURE)
    def test_a_missing_file(self, checkout: Path, name: str) -> None:
        (checkout / name).unlink()
        assert refusal(checkout) == (
            f"--ol-infrastructure {checkout}: expected a file {name}, found none; is this a checkout of "
            "mitodl/ol-infrastructure?"
        )

    @pytest.mark.parametrize("name", [SPAWNER, PRE_PULLER, PIPELINES, VERSIONS], ids=str)
    def test_not_python(self, checkout: Path, name: Path) -> None:
        (checkout / name).write_text("a = 1\n<<<<<<< HEAD\n")
        message = refusal(checkout)
        assert message.startswith(f"--ol-infrastructure {checkout / name}, line 2: not Python: invalid syntax\n  | <<<")

    @pytest.mark.parametrize(
        "name",
        [
            "menu_override.json",
            "disabled_extensions.json",
            "author_menu_override.json",
            "author_disabled_extensions.json",
        ],
    )
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{\n "a": 1,\n}\n', ", line 3: not JSON: "),
            (b"", ", line 1: not JSON: Expecting value"),
            (b"[]", ": expected a JSON object, found a list"),
            (b"\xff", ": not a text file: invalid start byte at byte 0"),
        ],
    )
    def test_settings(self, checkout: Path, name: str, content: bytes, message: str) -> None:
        path = checkout / APPLICATION / name
        path.write_bytes(content)
        assert refusal(checkout).startswith(f"--ol-infrastructure {path}{message}")

    def test_logo(self, checkout: Path) -> None:
        path = checkout / APPLICATION / "mit_learn.svg"
        path.write_text("")
        assert refusal(checkout) == f"--ol-infrastructure {path}: expected an image in SVG, found no <svg"

    @pytest.mark.parametrize(
        ("name", "code", "message"),
        [
            (SPAWNER, "A = 1", ": expected KNOWN_COURSES, or a list by another name that has base_authoring_image; "),
            (
                SPAWNER,
                "KNOWN_COURSES = load()",
                ", line 1: expected literals, and lists, f-strings and names of such, ",
            ),
            (PRE_PULLER, "A = 1", ": expected COURSE_NAMES, or a list by another name that has base_authoring_image; "),
            (PRE_PULLER, "from x import COURSE_NAMES", ", line 1: expected literals, "),
            (VERSIONS, "A = 1", ": expected a constant JUPYTERHUB_CHART_VERSION, found none"),
            (PIPELINES, "", ": expected build jobs, CourseImageInfo(image_name=…, …); found none"),
            (
                PIPELINES,
                "a = 1\nCourseImageInfo('a', 'b')",
                ", line 2: expected CourseImageInfo(course_name=…, image_na",
            ),
            (PIPELINES, "CourseImageInfo(**a)", ", line 1: expected CourseImageInfo(course_name=…, image_name=…, …), "),
            (
                PIPELINES,
                "CourseImageInfo(repo_uri='a')",
                ", line 1: expected CourseImageInfo(course_name=…, image_name=",
            ),
            (PIPELINES, "CourseImageInfo(image_name=name())", ", line 1: expected literals, "),
            (PIPELINES, "CourseImageInfo(image_name=1)", ", line 1: expected literals, "),
            (PIPELINES, "[CourseImageInfo(image_name=i) for i in ['a']]", ", line 1: expected literals, "),
        ],
    )
    def test_unreadable(self, checkout: Path, name: Path, code: str, message: str) -> None:
        (checkout / name).write_text(code)
        assert refusal(checkout).startswith(f"--ol-infrastructure {checkout / name}{message}")
