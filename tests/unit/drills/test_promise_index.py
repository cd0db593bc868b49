"""The promises, as pytest collects them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.drills.promise_index import (
    FIRST_COURSE_TEST,
    OF_COURSE,
    PEOPLE,
    PREPARED,
    RUNNING,
    SLOW,
    Layer,
    Promise,
    collect,
    promises,
)
from tests.unit.drills.examples import CHECKOUT


@pytest.mark.parametrize(
    ("test", "layer"),
    [
        ("test_infrastructure.py::test_websockets_pass_the_route", Layer.EVALUATED),
        ("test_infrastructure.py::TestDataHub::test_there_is_a_route", Layer.EVALUATED),
        ("test_three_lists.py::test_build_jobs_are_sound", Layer.EVALUATED),
        ("test_production.py::test_server_is_guaranteed_what_production_gives", Layer.RENDERED),
        ("test_image_selection.py::test_request_decides", Layer.ASKED),
        ("test_notebook_404.py::test_notebook_opens", Layer.LIVE),
        ("test_authoring_workflow.py::TestMistakes::test_missing_image", Layer.LIVE),
    ],
)
def test_layers(suite: dict[str, Promise], test: str, layer: Layer) -> None:
    assert suite[test].layer is layer


def test_a_promise_is_the_first_line_of_a_docstring(suite: dict[str, Promise]) -> None:
    assert suite["test_hub_health.py::test_both_hubs_are_healthy"].sentence.startswith("Both hubs answer")


def test_what_is_no_promise_of_the_deployment(suite: dict[str, Promise]) -> None:
    files = {test.partition("::")[0] for test in suite}
    assert not files & {"test_charts_agree.py", "test_known_defects.py"}


def test_promises_about_given_courses_are_told_from_others(suite: dict[str, Promise]) -> None:
    """They are left out of a run without --course, and are promises all the same."""
    of_courses = {test for test, promise in suite.items() if promise.of_course}
    assert FIRST_COURSE_TEST in of_courses
    assert {test.partition("::")[0] for test in of_courses} == {"test_course.py"}


def test_the_cheapest_come_first(suite: dict[str, Promise]) -> None:
    order = sorted(suite.values(), key=lambda promise: promise.cost)
    assert order[0].layer is Layer.EVALUATED
    assert order[-1].slow


def test_a_persons_options_change_nothing(suite: dict[str, Promise], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_COURSE", "nowhere")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    assert promises(CHECKOUT) == suite


def test_fixtures_that_decide_a_layer_are_there() -> None:
    used = set[str]().union(*(test.fixtures for test in collect(CHECKOUT)))
    deciding = PEOPLE | RUNNING | PREPARED | {SLOW, OF_COURSE}
    assert used >= deciding, f"no promise asks for {sorted(deciding - used)}"


def test_no_other_test_starts_keycloak() -> None:
    """A run without those behind the gate neither builds nor starts it."""
    asking = {test.test.partition("[")[0] for test in collect(CHECKOUT) if {"gated", "keycloak"} & test.fixtures}
    elsewhere = {test for test in asking if not test.startswith("tests/e2e/test_sso")}
    assert elsewhere == {"tests/e2e/test_network_policies.py::test_gate_is_let_through_to_the_proxy"}


def test_a_suite_that_cannot_be_collected(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"The tests in tests/e2e cannot be collected\n  \| "):
        collect(tmp_path)
