"""Removal of a run: every trace goes, and what cannot go is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.deployment import teardown
from harness.deployment.boot import only_run
from harness.deployment.state import State
from harness.plan.plan import Plan
from tests.unit.deployment.doubles import PARTS
from tests.unit.fakes import FakeDocker, Program

Planner = Callable[..., Plan]


class TestRemove:
    def test_every_trace(self, planned: Planner, steps: Steps, docker: FakeDocker) -> None:
        plan = planned()
        with only_run(plan):
            (plan.state / "certs.d/quay.io").mkdir(parents=True)
            (plan.state / "secrets.json").touch()
            docker.has(*PARTS)
            teardown.remove(plan, steps)
            assert sorted(path.name for path in plan.state.iterdir()) == ["identity", "lock"]
        assert docker.changes[-1] == "network rm jh-1"

    def test_a_dead_daemon_leaves_what_is_there_and_says_so(
        self, planned: Planner, steps: Steps, docker: FakeDocker
    ) -> None:
        Program(docker.path.parent, "docker", "echo Cannot connect >&2; exit 1")
        plan = planned()
        State(plan.state / "state.json").set("cluster", "as it was")
        plan.secrets.touch()
        with pytest.raises(HarnessError, match=r"\AThe Docker daemon does not answer: the containers of jh-1 are left"):
            teardown.remove(plan, steps)
        assert plan.secrets.exists(), "it is still the cluster's"

    def test_no_docker(
        self, planned: Planner, steps: Steps, out: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        teardown.remove(planned(), steps)
        assert out.getvalue().endswith("s  teardown: nothing was there\n")


@pytest.mark.parametrize(("keep", "end"), [(False, "removed jh-1-moto jh-1\n"), (True, "'tox -e down' removes it.\n")])
def test_a_boot_that_failed_is_undone_unless_it_is_to_be_kept(
    planned: Planner, steps: Steps, docker: FakeDocker, out: io.StringIO, keep: bool, end: str
) -> None:
    docker.has("moto")
    teardown.undo_boot(planned(keep=keep), steps)
    assert docker.changes == ([] if keep else ["rm --force --volumes jh-1-moto", "network rm jh-1"])
    assert out.getvalue().endswith(end)
