"""A new course: the lists of a spawner file that it is added to, when a hub loads the file."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from harness.plan.sources.new_courses import named_in, pre_puller_with, spawner_with
from tests.unit.fakes import load_spawner

OURS = Path(__file__).parents[4] / "helm/spawner/dynamicImageConfig.py"
NEW = {"new.cpu": False, "new.gpu": True}
LISTS = {
    "lists": "KNOWN = ['base_authoring_image', 'poetry']; GPU = ['uai_source-uai.1']",
    "sets": "KNOWN = {'base_authoring_image', 'poetry'}; GPU = {'uai_source-uai.1'}",
    "frozen": "KNOWN = frozenset(['base_authoring_image', 'poetry']); GPU = ('uai_source-uai.1',)",
    "dicts": "KNOWN = {'base_authoring_image': {'cpu': 1}, 'poetry': {'cpu': 2}}; GPU = {'uai_source-uai.1': 1}",
    "worked out": "GPU = [f'uai_source-uai.{part}' for part in (1, 2)]; KNOWN = sorted({'base_authoring_image', *GPU})",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_lists_are_found_by_what_is_in_them(tmp_path: Path, text: str) -> None:
    """Names and types of the lists do not count, and what they had they keep."""
    names, before = load_spawner(spawner_with(written(tmp_path, text), NEW)), load_spawner(text)
    assert set(names["KNOWN"]) == {*before["KNOWN"], "new.cpu", "new.gpu"}
    assert set(names["GPU"]) == {*before["GPU"], "new.gpu"}
    assert type(names["KNOWN"]) is type(before["KNOWN"])


def test_lists_of_a_class(tmp_path: Path) -> None:
    text = """
        class Spawner:
            courses = ("base_authoring_image",)
            with_gpu = ("uai_source-uai.1",)
    """
    spawner: Any = load_spawner(spawner_with(written(tmp_path, text), NEW))["Spawner"]
    assert spawner.courses == ("base_authoring_image", "new.cpu", "new.gpu")
    assert spawner.with_gpu == ("uai_source-uai.1", "new.gpu")


def test_our_own_spawner() -> None:
    names = load_spawner(spawner_with(OURS, NEW))
    assert {"new.cpu", "new.gpu"} <= names["KNOWN_COURSES"]
    assert "new.gpu" in names["GPU_ENABLED_COURSES"]
    assert "new.cpu" not in names["GPU_ENABLED_COURSES"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("KNOWN = ['poetry']", "expected a list of courses with base_authoring_image in the spawner file, found none"),
        ("KNOWN = ['base_authoring_image']", "expected a list of courses with a GPU in the spawner file, found none"),
    ],
)
def test_no_list(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LookupError, match=message):
        load_spawner(spawner_with(written(tmp_path, text), NEW))


def test_a_course_without_a_gpu_needs_no_list_of_those_with_one(tmp_path: Path) -> None:
    found = load_spawner(spawner_with(written(tmp_path, "KNOWN = ['base_authoring_image']"), {"new.cpu": False}))
    assert found["KNOWN"] == ["base_authoring_image", "new.cpu"]


def test_courses_that_a_file_names(tmp_path: Path) -> None:
    assert {"base_authoring_image", "poetry"} <= named_in(written(tmp_path, LISTS["lists"]))


def test_pre_puller() -> None:
    repository = "610119931565.dkr.ecr.us-east-1.amazonaws.com/ol-course-notebooks"
    assert pre_puller_with(["a_b.1"]) == {"prePuller.extraImages.a-b-1": {"name": repository, "tag": "a_b.1"}}


def written(directory: Path, text: str) -> Path:
    file = directory / "spawner.py"
    file.write_text(textwrap.dedent(text))
    return file
