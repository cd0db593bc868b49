"""Changes to a running copy that are taken back at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.charts.chart import Chart, Release
from harness.deployment import changes
from harness.deployment.state import STATE, State, release_fingerprint
from harness.plan.hubs import STUDENT
from harness.plan.plan import Plan
from tests.unit.deployment.doubles import FakeCluster, running_copy
from tests.unit.fakes import hub_that_answers

Planner = Callable[..., Plan]


def test_images_that_a_killed_run_changed_are_pushed_again(planned: Planner) -> None:
    plan = planned()
    known = State(plan.state / STATE)
    known.set("images", "as they were")
    with changes.images_changed(plan):
        assert known.get("images") is None
    assert known.get("images") == "as they were"


@pytest.mark.parametrize("error", [None, HarnessError("a test fails")])
def test_a_hub_has_its_own_release_back_in_the_end(planned: Planner, tmp_path: Path, error: Exception | None) -> None:
    own, other = (Release(name, "jupyter", ()) for name in ("own", "other"))
    chart = Chart(tmp_path / "cache", "1", "test")
    chart.path.mkdir()
    installed: list[str] = []
    helm = SimpleNamespace(upgrade_install=lambda _, release: installed.append(release.name))
    hub = hub_that_answers(lambda _: httpx.Response(200, json={"version": "5"}))
    plan = planned()
    running: Any = running_copy(plan, FakeCluster(), helm=helm, hub=lambda _: hub, chart=chart, releases={STUDENT: own})
    known = State(plan.state / STATE)
    known.set(STUDENT.release, "as it was")

    def work() -> None:
        with changes.changed(running, STUDENT, other):
            assert installed == ["other"]
            assert known.get(STUDENT.release) is None, "a run that is killed now leaves none that counts as its own"
            if error:
                raise error

    if error:
        with pytest.raises(HarnessError, match="a test fails"):
            work()
    else:
        work()
    assert installed == ["other", "own"]
    assert known.get(STUDENT.release) == release_fingerprint(chart, own)
