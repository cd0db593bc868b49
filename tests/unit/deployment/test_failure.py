"""A boot that fails: its evidence is kept first, its error is one for people, and its work is undone."""

from __future__ import annotations

import errno
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError
from kubernetes.client import ApiException

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps, StoppedError
from harness.base.shell import CommandError
from harness.base.signals import cleaning_up
from harness.base.timeline import Timeline
from harness.cluster.client import NoAnswerError
from harness.deployment.context import BootContext
from harness.deployment.failure import (
    NO_VERDICT,
    failed_calls_named,
    faults_named,
    side_by_side,
    undone_on_failure,
    with_evidence,
)
from harness.plan.plan import Plan
from tests.unit.deployment.doubles import FakeCluster, context_of
from tests.unit.fakes import FakeDocker

Planner = Callable[..., Plan]
NO_SUCH_NODE = ApiException(404, "Not Found")
NO_SUCH_NODE.body = json.dumps({"kind": "Status", "message": 'nodes "jh-1-worker" not found'})


class TestUndone:
    @pytest.mark.parametrize("error", [HarnessError("no"), KeyboardInterrupt(), ValueError()])
    def test_failure_leaves_nothing(
        self, planned: Planner, steps: Steps, docker: FakeDocker, out: io.StringIO, error: BaseException
    ) -> None:
        docker.has("moto")
        with pytest.raises(type(error)), undone_on_failure(planned(), steps):
            raise error
        assert docker.changes == ["rm --force --volumes jh-1-moto", "network rm jh-1"]
        assert out.getvalue().endswith("s  teardown: removed jh-1-moto jh-1\n")
        assert not cleaning_up()

    def test_failure_keeps_what_is_to_be_kept_and_says_so(
        self, planned: Planner, steps: Steps, docker: FakeDocker, out: io.StringIO
    ) -> None:
        docker.has("moto")
        with pytest.raises(KeyboardInterrupt), undone_on_failure(planned(keep=True), steps):
            raise KeyboardInterrupt
        assert docker.changes == []
        assert out.getvalue() == "Kept as it is, because of --keep-cluster: jh-1. 'tox -e down' removes it.\n"

    def test_a_caller_that_looks_first_removes_it_later(
        self, planned: Planner, steps: Steps, docker: FakeDocker
    ) -> None:
        docker.has("moto")
        undone: list[bool] = []
        with (
            pytest.raises(HarnessError, match=r"\Ano\Z"),
            undone_on_failure(planned(), steps, lambda: undone.append(cleaning_up())),
        ):
            raise HarnessError("no")
        assert undone == [True], "called once, and no signal cuts it short"
        assert docker.changes == []

    def test_success_undoes_nothing(self, planned: Planner, steps: Steps, docker: FakeDocker) -> None:
        docker.has("moto")
        with undone_on_failure(planned(), steps):
            pass
        assert docker.changes == []


class TestFailedCalls:
    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (httpx.ReadTimeout("timed out"), r"A call of the boot failed, ReadTimeout: timed out"),
            (httpx.ReadTimeout(""), r"A call of the boot failed, ReadTimeout: it gives no reason"),
            (TimeoutError(), r"A call of the boot failed, TimeoutError: it gives no reason"),
            (ConnectionRefusedError("refused"), r"A call of the boot failed, ConnectionRefusedError: refused"),
            (ApiException(403, "Forbidden"), r"The cluster's API server refused a call: 403 Forbidden"),
            (NO_SUCH_NODE, r"The cluster's API server refused a call: 404 nodes \"jh-1-worker\" not found"),
            (
                EndpointConnectionError(endpoint_url="moto"),
                r"A call of the boot failed, .*: Could not connect .*",
            ),
            (
                OSError(errno.ENOSPC, "No space left on device", "layer"),
                r"A file of the boot cannot be read or written: .*: 'layer'",
            ),
        ],
        ids=[
            "httpx",
            "httpx, without words",
            "time",
            "connection",
            "kubernetes",
            "kubernetes, in words",
            "botocore",
            "file",
        ],
    )
    def test_it_is_told_in_a_line(self, error: Exception, message: str) -> None:
        with pytest.raises(HarnessError, match=rf"\A{message}\Z") as found, failed_calls_named():
            raise error
        assert found.value.__cause__ is error

    def test_one_that_names_itself_is_told_as_it_is(self) -> None:
        with pytest.raises(NoAnswerError, match=r"\AGET /api: no answer\Z"), failed_calls_named():
            raise NoAnswerError("GET /api: no answer")


class TestFaults:
    @staticmethod
    def fail(error: Exception, fault: str = "") -> HarnessError:
        plan: Any = None
        with pytest.raises(HarnessError) as found, faults_named(plan, lambda *_, **__: fault):
            raise error
        return found.value

    def test_one_that_is_still_there(self) -> None:
        found = self.fail(HarnessError("kube-apiserver does not build"), "The disk is full.")
        assert isinstance(found, EnvironmentFault)
        assert str(found) == f"The disk is full. {NO_VERDICT}"

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            CommandError("go build failed\n  | no space left on device"),
        ],
        ids=["ours", "a-program's"],
    )
    def test_a_disk_that_was_full(self, error: Exception) -> None:
        found = self.fail(error)
        assert isinstance(found, EnvironmentFault)
        assert str(found).startswith("The disk was full: ")

    def test_none(self) -> None:
        found = self.fail(HarnessError("--chart 9.9.9: there is no such version"))
        assert not isinstance(found, EnvironmentFault)

    def test_one_that_is_known_is_told_as_it_is(self) -> None:
        assert str(self.fail(EnvironmentFault("no Docker"), "something else")) == "no Docker"


class TestEvidence:
    @pytest.fixture
    def context(self, planned: Planner, steps: Steps) -> BootContext:
        """A boot whose cluster is there."""
        return context_of(planned(), steps, FakeCluster(), nodes_exist=True, cluster_ready=True)

    @staticmethod
    def fail(context: BootContext, error: BaseException, write: Callable[..., Any]) -> None:
        """Fail in a boot whose environment is sound."""
        with with_evidence(context, lambda *_, **__: "", write):
            raise error

    def test_it_is_kept_with_the_likely_cause(self, context: BootContext, out: io.StringIO) -> None:
        seen: list[Any] = []

        def write(scene: Any, into: Path, failure: str, *, since: float, extra: dict[str, str]) -> str:
            seen.extend([scene.plan, scene.cluster, scene.running])
            (into / "hub.log").write_text(failure)
            return "the disk is full"

        with pytest.raises(HarnessError, match=r"\Ano\nthe disk is full\Z"):
            self.fail(context, HarnessError("no"), write=write)
        evidence = context.plan.evidence / "boot"
        assert seen == [context.plan, context.cluster, None]
        assert (evidence / "hub.log").read_text() == "no"
        assert out.getvalue() == f"Likely cause: the disk is full\nLogs, pods and events: {evidence}\n"

    def test_a_cause_that_the_error_names_is_not_told_twice(self, context: BootContext, out: io.StringIO) -> None:
        with pytest.raises(HarnessError, match=r"\Athe disk is full\Z"):
            self.fail(context, HarnessError("the disk is full"), write=lambda *_, **__: "the disk is full")
        assert "Likely cause" not in out.getvalue()

    def test_the_timeline_since_the_boot_began_is_part_of_it(self, context: BootContext) -> None:
        timeline = context.timeline = Timeline()
        timeline.add("hub", "before", at=context.began - 60)
        timeline.add("hub", "meanwhile", at=context.began)
        found: list[dict[str, str]] = []
        with pytest.raises(HarnessError):
            self.fail(context, HarnessError("no"), write=lambda *_, extra, **__: found.append(extra))
        [extra] = found
        assert "meanwhile" in extra["timeline.txt"]
        assert "before" not in extra["timeline.txt"]

    def test_without_nodes_there_is_none(self, context: BootContext, out: io.StringIO) -> None:
        context.nodes_exist = context.cluster_ready = False
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            self.fail(context, HarnessError("no"), write=lambda *_, **__: pytest.fail("there is nothing to look at"))
        assert out.getvalue() == ""

    @pytest.mark.parametrize("ready", [False, True])
    def test_a_fault_of_the_environment_is_no_verdict(self, context: BootContext, ready: bool) -> None:
        context.cluster_ready = ready
        looked: list[Any] = []

        def find_fault(plan: Plan, cluster: Any, *, whole: bool) -> str:
            assert not whole, "containers are still being started"
            looked.append(cluster)
            return "The disk is full."

        def never(*_: Any, **__: Any) -> None:
            pytest.fail("evidence of a failure that says nothing")

        with (
            pytest.raises(EnvironmentFault, match=r"\AThe disk is full\. The run ends ") as error,
            with_evidence(context, find_fault, never),
        ):
            raise HarnessError("no")
        assert str(error.value.__cause__) == "no"
        assert looked == [context.cluster if ready else None], "an API server that is not up yet need not answer"

    def test_ctrl_c_leaves_none(self, context: BootContext) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.fail(context, KeyboardInterrupt(), write=lambda *_, **__: pytest.fail("nobody waits for it"))


def test_what_runs_side_by_side_is_over_before_the_failure_goes_on(steps: Steps) -> None:
    events: list[str] = []
    killed = threading.Event()

    def other() -> None:
        assert killed.wait(10)
        with pytest.raises(StoppedError):
            steps.go_on()
        events.append("the other side is over")

    def fail() -> None:
        with side_by_side("jh-1", steps, killed.set) as pool:
            for work in (other, other, lambda: events.append("begun too late")):
                pool.submit(work)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert events == ["the other side is over"] * 2
