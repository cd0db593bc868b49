"""The benchmark's figures and edits, without a cluster."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.progress import Steps
from harness.cli.bench import LIMITS, Figures, one_changes
from harness.courses.images import course_repositories
from harness.deployment.inputs import changed_places, read_inputs
from harness.drills.selection import known_places, select_promises
from harness.people.link import EXAMPLE
from harness.plan.plan import Plan
from tests.unit.conftest import ROOT

FEW = 40
"""Tests that have their verdict in a minute."""


class TestFigures:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "evidence/bench.json"

    @pytest.fixture
    def figures(self, file: Path, steps: Steps) -> Figures:
        return Figures(file, steps)

    def test_seconds_are_held_to_their_limit(self, figures: Figures, out: io.StringIO) -> None:
        figures.seconds("kept cluster", 10.0, 10)
        assert figures.over == []
        figures.seconds("one change", 60.1, 60)
        assert figures.over == ["one change (at most 60 s)"]
        assert [line.endswith("OVER") for line in out.getvalue().splitlines()] == [False, True]

    def test_a_ratio_is_held_to_its_limit(self, figures: Figures) -> None:
        limit = LIMITS["warm start"]
        figures.ratio("warm start", 40 * limit, 40.0, {})
        assert figures.over == []
        figures.ratio("warm start", 41 * limit, 40.0, {})
        assert figures.over == [f"warm start (1.18 x the floor of 40.0 s, at most {limit})"]

    def test_a_failure_later_on_loses_none(self, figures: Figures, file: Path) -> None:
        figures.ratio("warm start", 42.0, 40.0, {"floor parts": {"one spawn": 3.0}})
        figures.seconds("kept cluster", 3.5, 10)
        assert json.loads(file.read_text()) == {
            "warm start": {"harness": 42.0, "floor": 40.0, "ratio": 1.05, "floor parts": {"one spawn": 3.0}},
            "kept cluster": {"harness": 3.5, "limit": 10},
        }


class TestOneChanges:
    @pytest.fixture
    def plan(self, planned: Callable[..., Plan], checkout: Path) -> Plan:
        (checkout / "courses").unlink()
        shutil.copytree(ROOT / "courses", checkout / "courses")
        return planned()

    def test_each_is_one_that_drills_know_and_selects_few_promises(self, plan: Plan) -> None:
        before = read_inputs(plan)
        known = known_places(ROOT, before.spawner)
        selected = {}
        for name, edited in one_changes(plan):
            after = read_inputs(edited)
            selected[name] = select_promises(changed_places(before, after), known)
            before = after
        assert len(selected) == 5
        wide = {name: found for name, found in selected.items() if not found.narrow or len(found.tests) > FEW}
        assert not wide, f"no verdict within a minute, or none at all: {wide}"

    def test_a_courses_dockerfile_is_as_it_was(self, plan: Plan) -> None:
        dockerfile = course_repositories(plan)[EXAMPLE.course] / "Dockerfile"
        before = dockerfile.read_text()
        edits = one_changes(plan)
        while dockerfile.read_text() == before:
            assert next(edits)
        edits.close()
        assert dockerfile.read_text() == before, "a benchmark that ends here leaves its edit in the checkout"
