"""A new course: what a run is told of it, and the lists that it is put into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.plan.contract import KNOWN_COURSES
from harness.plan.options import read
from harness.plan.plan import Plan, check_out_courses, make_plan
from harness.plan.sources.onboarding import known_courses, pre_puller_with, spawner_with

ROOT = Path(__file__).parents[4]

THEIRS = """\
KNOWN_COURSES = ["base_authoring_image"]
KNOWN_COURSES.extend([f"uai_source-uai.{i}" for i in [1, 2]])
WITH_GPU = frozenset({"deep_learning_foundations_and_applications", "uai_source-uai.1"})
LOOKUP = set(KNOWN_COURSES)
"""


def ran(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    return names


class TestSpawner:
    def test_ours_knows_the_contracts_courses(self) -> None:
        assert known_courses(ROOT / "helm/spawner/dynamicImageConfig.py") == KNOWN_COURSES

    def test_a_course_is_added_where_the_list_ends(self, tmp_path: Path) -> None:
        """Whatever the lists are called and of whatever type, and before anything is made of them."""
        spawner = tmp_path / "spawner.py"
        spawner.write_text(THEIRS)
        names = ran(spawner_with(spawner, {"trees.1": False, "nets.1": True}))
        assert names["KNOWN_COURSES"][-2:] == ["nets.1", "trees.1"]
        assert names["WITH_GPU"] == {"deep_learning_foundations_and_applications", "uai_source-uai.1", "nets.1"}
        assert names["LOOKUP"] >= {"trees.1", "nets.1"}

    def test_ours_still_runs(self) -> None:
        ours = spawner_with(ROOT / "helm/spawner/dynamicImageConfig.py", {"trees.1": True})
        lists = ours[ours.index("DEFAULT_COURSE") : ours.index("GPU_NODE =")]
        names = ran(lists)
        assert {"trees.1"} == names["KNOWN_COURSES"] - KNOWN_COURSES
        assert "trees.1" in names["GPU_ENABLED_COURSES"]

    def test_a_spawner_without_a_list(self, tmp_path: Path) -> None:
        spawner = tmp_path / "spawner.py"
        spawner.write_text("c.JupyterHub.spawner_class = 'simple'\n")
        with pytest.raises(HarnessError, match=r"expected KNOWN_COURSES, or a list by another name that has base_auth"):
            spawner_with(spawner, {"trees.1": False})


def test_pre_puller() -> None:
    [(key, image)] = pre_puller_with(["Trees_in.1"]).items()
    assert key == "prePuller.extraImages.trees-in-1"
    assert image["tag"] == "Trees_in.1"


class TestCoursesOfARun:
    @pytest.fixture
    def planned(self, tmp_path: Path) -> Callable[..., Plan]:
        checkout = tmp_path / "checkout"
        checkout.mkdir()
        for name in ("helm", "images"):
            (checkout / name).symlink_to(ROOT / name)

        def planned(*courses: str) -> Plan:
            options = read(lambda option: list(courses) if option.name == "course" else [], {}, lambda _: [])
            plan = make_plan(options, checkout=checkout, cwd=ROOT / "courses", environ={})
            return check_out_courses(plan, ROOT / "courses")

        return planned

    def test_a_copy_of_ours_is_read(self, planned: Callable[..., Plan]) -> None:
        plan = planned("data_science_example", "nets.1=gpu_example")
        assert [course.tag for course in plan.courses] == ["data_science_example", "nets.1"]
        assert all(course.path.is_relative_to(plan.state) for course in plan.courses)
        assert [course.needs_gpu for course in plan.courses] == [False, True]
        assert "courses:   data_science_example (3 notebooks), nets.1 (2 notebooks, with a GPU)" in plan.describe()

    def test_a_course_that_is_there_already(self, planned: Callable[..., Plan], tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match=r"there is a course supervised_learning_fundamentals already.*TAG="):
            planned("supervised_learning_fundamentals")
        there = "supervised_learning_fundamentals"
        assert planned(f"{there}={there}").courses[0].tag == there, "an update of that very course, said to be one"

    def test_one_tag_twice(self, planned: Callable[..., Plan]) -> None:
        with pytest.raises(HarnessError, match=r"another --course has the tag nets\.1"):
            planned("nets.1=gpu_example", "nets.1=data_science_example")

    def test_no_repository(self, planned: Callable[..., Plan], tmp_path: Path) -> None:
        shutil.copytree(ROOT / "courses/gpu_example", tmp_path / "broken")
        (tmp_path / "broken/Dockerfile").unlink()
        (tmp_path / "broken/lectures/lecture1/network.ipynb").write_text("{")
        with pytest.raises(
            HarnessError, match=r"(?s)broken cannot be built:.*no Dockerfile.*network\.ipynb: line 1: not JSON"
        ):
            planned(str(tmp_path / "broken"))
