"""What a failed test's report says: its evidence, and the likely cause behind its first line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import evidence, report, timeline
from fixtures.deployment import DEPLOYMENT
from harness import bundle
from harness.promises import State
from harness.student import Student

USER = "7c1e0000-0000-4000-8000-000000000000"
OTHER = "00000000-0000-4000-8000-00000000000f"
TEST = "tests/e2e/test_a.py::test_b[x]"
KILLED = "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi"


@pytest.fixture
def item(tmp_path: Path) -> Any:
    """A test of a run that has a deployment, with a student."""
    (tmp_path / "secrets.json").write_text('{"database": "hunter2"}')
    plan = SimpleNamespace(evidence=tmp_path, secrets=tmp_path / "secrets.json", state=tmp_path)
    running: Any = SimpleNamespace(plan=plan, cluster=None)
    stash = pytest.Stash()
    stash[DEPLOYMENT] = running
    made: Any = SimpleNamespace(
        nodeid=TEST, stash=pytest.Stash(), config=SimpleNamespace(stash=stash), user_properties=[], funcargs={}
    )
    hub: Any = SimpleNamespace(url="http://hub", release="jupyterhub")
    student = Student(hub)
    student.name = USER
    made.stash[timeline._PEOPLE] = {None: [student]}
    made.listchain = lambda: [made]
    return made


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What bundles were written of."""
    found: list[dict[str, Any]] = []

    def write(scene: Any, into: Path, failure: str, **more: Any) -> str:
        found.append({"scene": scene, "into": into, "failure": failure, **more})
        return KILLED

    monkeypatch.setattr(bundle, "write", write)
    return found


def outcome(item: Any, message: str = "AssertionError: no", outcome: Any = "failed", when: Any = "call") -> Any:
    return pytest.TestReport(TEST, ("a.py", 1, "b"), {}, outcome, message, when, user_properties=item.user_properties)


def made(item: Any, report: Any) -> Any:
    """The report as it leaves the hook."""
    hook = evidence.pytest_runtest_makereport(item)
    next(hook)
    with pytest.raises(StopIteration) as end:
        hook.send(report)
    return end.value.value


class TestHook:
    def test_a_hub_that_the_test_has_for_itself_is_looked_at_too(
        self, item: Any, written: list[dict[str, Any]]
    ) -> None:
        made(item, outcome(item))
        scaled: Any = SimpleNamespace(url="http://scaled", release="jupyterhub-scaled")
        item.stash[timeline._PEOPLE][None].append(Student(scaled))
        made(item, outcome(item))
        assert [each["scene"].beside for each in written] == [(), (scaled,)]

    def test_a_failure_has_its_evidence_and_its_cause(
        self, item: Any, written: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        before = time.time()
        item.stash[timeline.BEGAN] = time.time()
        found = made(item, outcome(item, f"AssertionError: 500\nfor {OTHER}"))
        where = tmp_path / "tests-e2e-test_a.py-test_b-x"
        assert dict(found.user_properties) == {"evidence": where.name, "cause": KILLED}
        assert found.sections == [("evidence", str(where)), ("likely cause", KILLED)]
        [bundled] = written
        assert (bundled["into"], bundled["browser"]) == (where, None)
        assert set(bundled["extra"]) == {"journeys.har", "timeline.txt"}
        assert bundled["users"] == {USER, OTHER}
        assert before <= bundled["since"] <= time.time()
        assert bundled["failure"].startswith(f"{TEST}: ")

    def test_junit_takes_both_from_the_last_report(self, item: Any, written: list[dict[str, Any]]) -> None:
        made(item, outcome(item))
        last = made(item, outcome(item, outcome="passed", when="teardown"))
        assert {"evidence", "cause"} == set(dict(last.user_properties))
        assert len(written) == 1

    def test_a_teardown_that_fails_too_leaves_the_first_bundle_alone(
        self, item: Any, written: list[dict[str, Any]]
    ) -> None:
        made(item, outcome(item))
        made(item, outcome(item, when="teardown"))
        first, second = (each["into"] for each in written)
        assert second == first / "teardown"
        assert written[0]["scene"] is written[1]["scene"]

    @pytest.mark.parametrize("state", ["passed", "failed"])
    def test_no_report_shows_a_secret(self, item: Any, written: list[dict[str, Any]], state: str) -> None:
        report = outcome(item, outcome=state)
        report.sections = [("journey 1", "GET /x?code=abc with hunter2")]
        assert made(item, report).sections[0] == ("journey 1", "GET /x?code=[redacted] with [redacted]")

    def test_without_a_deployment_there_is_nothing(self, item: Any, written: list[dict[str, Any]]) -> None:
        item.config.stash = pytest.Stash()
        assert made(item, outcome(item)).sections == []
        assert not written


class TestLine:
    @pytest.fixture
    def why(self, item: Any) -> Callable[[str, str], str]:
        """What is told of a failure with that message, and with a likely cause."""

        def why(message: str, cause: str) -> str:
            found = outcome(item, message)
            found.user_properties.append(("cause", cause))
            return report._case(State.BROKEN, found).because

        return why

    def test_cause_behind_what_was_found(self, why: Callable[[str, str], str]) -> None:
        said = why("AssertionError: expected 200, found 503.\nmore", KILLED)
        assert said == f"expected 200, found 503. Likely cause: {KILLED}"

    @pytest.mark.parametrize(
        ("message", "said"),
        [
            (
                "harness.shell.CommandError: docker exec: exit code 1.\n  | a\n  | 401 no",
                "docker exec: exit code 1. 401 no",
            ),
            ("Failed: it said last: no.\n  | a\n  | no.", "it said last: no."),
            ("AssertionError: no\nJourney:\n  | a", "no"),
            ("AssertionError: 'c' cannot be built:\n  - no notebooks\n  - b", "'c' cannot be built: no notebooks"),
            ("", ""),
        ],
    )
    def test_what_a_program_said_last(self, why: Callable[[str, str], str], message: str, said: str) -> None:
        assert why(message, "") == said

    def test_what_was_found_names_it_already(self, why: Callable[[str, str], str]) -> None:
        said = f"the page: will not come, seen after 3.1 s: {KILLED}"
        assert why(said, KILLED) == said
