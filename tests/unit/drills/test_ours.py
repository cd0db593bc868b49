"""The drills in tests/drills."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
import yaml

from harness.charts.values import merge_values
from harness.drills.model import (
    DRILLS,
    Drill,
    check_tests,
)
from harness.drills.planting import plant
from harness.drills.promise_index import Promise, function_of
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.plan import Plan
from harness.plan.sources.new_courses import spawner_with
from tests.unit.drills.examples import (
    BUILTIN,
    CHECKOUT,
    OURS,
)
from tests.unit.fakes import load_spawner

COLLECTIONS = (list, tuple, set, frozenset, dict)


class TestOurs:
    """The drills in tests/drills."""

    def test_there_are_enough(self) -> None:
        valid = sum(bool(each.valid) for each in OURS)
        assert valid >= 20
        assert len(OURS) - valid >= 60

    def test_every_promise_is_named_by_one(self, suite: dict[str, Promise]) -> None:
        """A promise that neither a drill nor a replay names could break unseen, unless there is a reason."""
        replays = yaml.safe_load((CHECKOUT / "tests/replays.yaml").read_text())
        named = {function_of(test) for each in OURS for test in each.caught_by}
        named |= {function_of(each["promise"]) for each in replays if "promise" in each}
        reasons = tomllib.loads((CHECKOUT / DRILLS / "not_drilled.toml").read_text())
        missing = sorted(suite.keys() - named - reasons.keys())
        assert not missing, f"no drill names {missing}: write one, or say why not in {DRILLS}/not_drilled.toml"
        assert all(reasons.values())
        needless = sorted(reasons.keys() & named | reasons.keys() - suite.keys())
        assert not needless, f"in {DRILLS}/not_drilled.toml, and either named by a drill or no promise: {needless}"

    def test_name_promises_that_there_are(self, suite: dict[str, Promise]) -> None:
        for each in OURS:
            check_tests(each, suite)

    @pytest.mark.parametrize(
        "ours", [each for each in OURS if not each.program], ids=lambda ours: f"{ours.subject}: {ours.name}"
    )
    def test_applies_and_changes_something(self, plan: Plan, tmp_path: Path, ours: Drill, no_index: None) -> None:
        """Each applies to our own spawner, values and chart, and changes one of them."""
        found = plant(ours, plan, BUILTIN, tmp_path / "scratch")
        assert not ours.spawner or _tree(found.spawner) != _tree(plan.spawner)
        assert STUDENT not in ours.values or merge_values(found.values) != merge_values(plan.values)
        assert AUTHORING not in ours.values or merge_values(found.authoring_values) != merge_values(
            plan.authoring_values
        )

    @pytest.mark.parametrize("ours", [each for each in OURS if each.spawner and each.valid], ids=lambda ours: ours.name)
    def test_lists_of_a_valid_spawner_can_be_extended(self, plan: Plan, tmp_path: Path, ours: Drill) -> None:
        """A course is added to whatever a valid change makes of the lists, when the file is loaded."""
        found = plant(ours, plan, BUILTIN, tmp_path / "scratch")
        names = load_spawner(spawner_with(found.spawner, {"new.cpu": False, "new.gpu": True}))
        lists = [value for value in names.values() if isinstance(value, COLLECTIONS) and "new.gpu" in value]
        assert any("base_authoring_image" in value for value in lists)
        assert any("base_authoring_image" not in value and "new.cpu" not in value for value in lists)


def _tree(spawner: Path) -> str:
    return ast.dump(ast.parse(spawner.read_text()))
