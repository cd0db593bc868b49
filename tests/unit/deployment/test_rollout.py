"""Waits: until a release has rolled out, and until its hub answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.wait import NeverError, TooLateError
from harness.deployment import rollout
from harness.deployment.rollout import wait_until_ready
from harness.hub.api import Hub
from tests.unit.deployment.doubles import NEW, OLD, PROXYS_OLD, FakeCluster, crashing, ready_pod, rolled
from tests.unit.fakes import hub_that_answers


class TestAnswer:
    """The first answer of a hub through its proxy."""

    def hub(self, status: int, text: str) -> Hub:
        return hub_that_answers(lambda _: httpx.Response(status, text=text, headers={"server": "gateway"}))

    def test_version(self) -> None:
        assert rollout.wait_for_answer(self.hub(200, '{"version": "5.5.0"}')) == "5.5.0"

    def test_somebody_else_answers(self) -> None:
        last = r"Last seen: 403 Forbidden, server gateway: not for you\Z"
        with pytest.raises(TooLateError, match=last):
            rollout.wait_for_answer(self.hub(403, "not for you"), timeout=0)

    def test_a_hub_that_crashes_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rollout, "seldom", lambda look: look)
        with pytest.raises(NeverError, match=r"through its proxy: will not come.*: CrashLoopBackOff"):
            rollout.wait_for_answer(self.hub(503, "no hub"), lambda: "CrashLoopBackOff")

    def test_a_restarted_hub_answers_before_anybody_goes_on(self) -> None:
        cluster = FakeCluster(rolled(ready=0), rolled())
        answers = iter([httpx.Response(503), httpx.Response(200, json={"version": "5.5.0"})])
        given: Any = cluster
        rollout.restart_hub(given, hub_that_answers(lambda _: next(answers)))
        assert cluster.done == ["restart jupyter hub"]
        assert cluster.changes == 1, "its pod was waited for"
        assert next(answers, None) is None, "its answer was waited for"


def wait_ready(cluster: FakeCluster, **more: float) -> None:
    given: Any = cluster
    wait_until_ready(given, "jupyter", **more)


class TestReady:
    def test_at_once(self) -> None:
        cluster = FakeCluster(rolled())
        wait_ready(cluster)
        assert cluster.changes == 0

    @pytest.mark.parametrize(
        "before",
        [rolled(seen=1), rolled(ready=0), rolled(updated=0), rolled(total=2)],
        ids=["unseen", "unavailable", "old", "both"],
    )
    def test_after_a_change(self, before: Any) -> None:
        cluster = FakeCluster(before, rolled())
        wait_ready(cluster)
        assert cluster.changes == 1

    def test_a_deployment_that_has_not_heard_of_its_pod_yet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pod = crashing("hub", NEW)
        pod.status.container_statuses = []
        pod.status.conditions = [SimpleNamespace(type="Ready", status="True")]
        cluster = FakeCluster(rolled(ready=0), rolled(), pods=(pod,))
        monkeypatch.setattr(rollout, "pause", lambda seconds: cluster.roll())
        wait_ready(cluster)
        assert cluster.changes == 0, "no pod changes any more, and a change is waited for"

    def test_a_deployment_that_counts_pods_that_were_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As those of a cluster that was stopped do, until their controller is back."""
        cluster = FakeCluster()
        ready: list[list[Any]] = [[], [ready_pod(NEW)], [ready_pod(NEW), ready_pod("8e")]]
        monkeypatch.setattr(cluster, "_ready_pods", lambda: ready.pop(0))
        monkeypatch.setattr(rollout, "pause", lambda seconds: None)
        wait_ready(cluster)
        assert not ready

    def test_an_upgrade_that_nobody_has_looked_at_yet(self) -> None:
        """Its Deployment still carries the revision before, whose pods are what the upgrade is to replace."""
        cluster = FakeCluster(rolled("hub", 1, seen=1), rolled(), pods=(crashing("hub", OLD),))
        wait_ready(cluster)
        assert cluster.changes == 1

    @pytest.mark.parametrize("others", [(), (crashing("hub", OLD),)], ids=["alone", "beside the one it replaces"])
    def test_a_crashed_hub_shows_its_traceback_at_once(self, others: tuple[Any, ...]) -> None:
        cluster = FakeCluster(rolled(ready=0), pods=(*others, crashing("hub", NEW)))
        with pytest.raises(NeverError) as error:
            wait_ready(cluster)
        assert str(error.value).endswith(
            f"pod hub-{NEW}: container hub: CrashLoopBackOff, image image. Last output: KeyError: 'image'"
            f"\n  | log of hub-{NEW}, previous=True\n  | KeyError: 'image'"
        )
        assert cluster.changes == 0

    @pytest.mark.parametrize(
        "pod",
        [crashing("hub", OLD), crashing("proxy", PROXYS_OLD), crashing("singleuser-server")],
        ids=["the hub that is replaced", "another Deployment's", "a student"],
    )
    def test_another_pod_that_crashes_is_no_matter(self, pod: Any) -> None:
        cluster = FakeCluster(rolled(ready=0), rolled(), pods=(pod,))
        wait_ready(cluster)
        assert cluster.changes == 1

    @pytest.mark.parametrize(("seconds", "hopeless"), [(20, True), (1, False)])
    def test_a_deployment_that_may_have_no_pod(self, seconds: int, hopeless: bool) -> None:
        refused = rolled(ready=0, updated=0, total=0)
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        message = 'pods "hub-" is forbidden: exceeded quota'
        refused.status.conditions = [
            SimpleNamespace(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate",
                message=message,
                last_transition_time=since,
            )
        ]
        cluster = FakeCluster(refused, rolled())
        if hopeless:
            with pytest.raises(NeverError, match=rf"hub gets no pod, FailedCreate: {message}\Z"):
                wait_ready(cluster)
        else:
            wait_ready(cluster)
            assert cluster.changes == 1

    def test_too_late(self) -> None:
        seen = r"the pods of jupyter: .* Last seen: hub 1/1 updated, 0 available; hub-1: Readiness probe failed\Z"
        with pytest.raises(TooLateError, match=seen):
            wait_ready(FakeCluster(rolled(ready=0)), timeout=0)
