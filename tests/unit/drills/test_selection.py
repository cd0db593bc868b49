"""The promises that a change can touch, by the drills."""

from __future__ import annotations

import pytest

from harness.drills.promise_index import Promise, function_of
from harness.drills.selection import Selection, known_places, places_of, select_promises
from tests.unit.drills.examples import CHECKOUT, OURS

SPAWNER = (CHECKOUT / "helm/spawner/dynamicImageConfig.py").read_text()
NARROW = 0.8
"""Share of the drills' changes that are selected narrowly, at least."""
MINUTES = {
    "test_image_selection.py::test_whole_class_at_once",
    "test_image_selection.py::test_hub_answers_while_a_class_arrives",
    "test_monitoring.py::test_stuck_puller_is_told",
    "test_monitoring.py::test_failed_starts_are_told",
}
"""Tests of a class and of incidents. Those of servers that live under the culler take minutes as well."""
FEW = 30
"""Tests that a narrow selection has at most, so that they take no more than a minute: those of the gate are short."""


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The tests that the drills name, by place."""
    return known_places(CHECKOUT, SPAWNER)


def test_most_drills_are_selected_narrowly_and_caught(known: dict[str, set[str]]) -> None:
    regressions = [each for each in OURS if each.caught_by and not each.program]
    selected = [(each, select_promises(places_of(each, SPAWNER), known)) for each in regressions]
    narrow = [(each, found) for each, found in selected if found.narrow]
    assert len(narrow) >= NARROW * len(regressions)
    for drill, found in narrow:
        assert set(drill.sooner or drill.caught_by) - {"boot"} <= found.tests, drill.name
        assert len(found.tests) <= FEW, drill.name


def test_what_no_drill_changes_selects_nothing(known: dict[str, set[str]]) -> None:
    found = select_promises({"students: cull.timeout", "students: hub.livenessProbe.enabled"}, known)
    assert found.unknown == ("students: hub.livenessProbe.enabled",)
    assert not found.narrow
    assert not found.has("test_hub_health.py::test_both_hubs_are_healthy")


def test_a_value_of_the_gate_selects_its_promises(known: dict[str, set[str]]) -> None:
    found = select_promises({"gate: plugins.openid-connect.scope"}, known)
    assert found.has("test_sso.py::TestSession::test_class_logs_in_together"), found


def test_no_value_and_no_course_selects_what_takes_minutes(
    known: dict[str, set[str]], suite: dict[str, Promise]
) -> None:
    edited = {place for place in known if not place.startswith("spawner: ")}
    edited |= {"students: cull", "spawner: c.KubeSpawner.args"}
    chosen = {place: sorted(select_promises({place}, known).tests) for place in edited}
    slow = {place: [test for test in tests if _takes_minutes(test, suite)] for place, tests in chosen.items()}
    assert {place: tests for place, tests in slow.items() if tests} == {}


def _takes_minutes(test: str, suite: dict[str, Promise]) -> bool:
    return function_of(test) in MINUTES or (test in suite and suite[test].slow)


@pytest.mark.parametrize("place", ["students: cull", "students: cull.timeout", "students: cull.timeout.more"])
def test_a_key_is_known_by_what_is_over_or_under_it(place: str) -> None:
    found = select_promises({place}, {"students: cull.timeout": {"test_culler.py::test_a"}})
    assert found.has("test_culler.py::test_a[page]")


def test_a_key_that_begins_alike_is_another() -> None:
    assert select_promises({"students: cull.timeouts"}, {"students: cull.timeout": {"a"}}).unknown


def test_a_test_with_parameters_is_named_with_them() -> None:
    found = Selection(("x",), frozenset({"test_a.py::test_x[one]"}))
    assert found.has("test_a.py::test_x[one]")
    assert not found.has("test_a.py::test_x[two]")
