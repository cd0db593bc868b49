"""The decision whether a pod is stuck, and why."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes import client

from harness.cluster.pod_health import (
    CREATED_WITHIN,
    HOOK_FAILED,
    RECREATED_WITHIN,
    Disappearance,
    PodFacts,
    bad_end,
    no_pod_reason,
    oom_killed,
    stuck_reason,
)
from tests.unit.cluster.builders import IMAGE, container, late_pod, node, pod, state, warning

FITS_NOWHERE = (
    "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s). "
    "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
    "1 Preemption is not helpful for scheduling."
)
MAY_PREEMPT = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
NO_SUCH_NODE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
COMING_UP = "0/2 nodes are available: 2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
CRASHED = container(state("CrashLoopBackOff", message="back-off 10s"), state(ended="Error"))
OUT_OF_MEMORY = container(state("CrashLoopBackOff", message="back-off 10s"), state(ended="OOMKilled"))


class TestStuckReason:
    @pytest.mark.parametrize(
        ("stuck", "why"),
        [
            (
                pod(container(state("ImagePullBackOff", message="Back-off pulling image"))),
                f"pod jupyter-1: container notebook: ImagePullBackOff, image {IMAGE}: Back-off pulling image",
            ),
            (
                pod(container(state("CreateContainerConfigError"))),
                f"pod jupyter-1: container notebook: CreateContainerConfigError, image {IMAGE}",
            ),
            (
                pod(init=[container(state("ErrImagePull"), name="block-metadata")]),
                f"pod jupyter-1: container block-metadata: ErrImagePull, image {IMAGE}",
            ),
            (
                pod(container(state(), name="sidecar", ready=True), container(state("ErrImagePull"))),
                f"pod jupyter-1: container notebook: ErrImagePull, image {IMAGE}",
            ),
            (
                pod(container(state(ended="OOMKilled"))),
                "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi",
            ),
            (pod(OUT_OF_MEMORY), "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi"),
            (
                pod(container(state(ended="OOMKilled"), name="sidecar")),
                "pod jupyter-1: container sidecar was OOMKilled: over its limit of none",
            ),
            (pod(unschedulable=NO_SUCH_NODE), f"pod jupyter-1 is Unschedulable: {NO_SUCH_NODE}"),
            (pod(unschedulable=FITS_NOWHERE), f"pod jupyter-1 is Unschedulable: {FITS_NOWHERE}"),
        ],
    )
    def test_unrecoverable(self, stuck: client.V1Pod, why: str) -> None:
        assert stuck_reason([pod(container(state(), ready=True)), stuck]) == why

    @pytest.mark.parametrize(
        "coming",
        [
            pod(),
            pod(unschedulable=MAY_PREEMPT),
            pod(unschedulable=COMING_UP),
            pod(container(state("ContainerCreating"))),
            pod(container(state("PodInitializing")), init=[container(state(), name="block-metadata")]),
            pod(container(state(ended="Completed"))),
            pod(container(state(), before=state(ended="OOMKilled"), ready=True)),
            pod(container(state("ImagePullBackOff")), leaving=True),
            pod(container(state("CreateContainerConfigError", message="failed to sync secret cache: timed out"))),
        ],
        ids=[
            "new",
            "preempts",
            "node-not-ready",
            "creating",
            "init",
            "completed",
            "recovered",
            "leaving",
            "asks-again",
        ],
    )
    def test_may_still_come(self, coming: client.V1Pod) -> None:
        assert stuck_reason([coming]) is None

    def test_a_crash_shows_the_end_of_the_log(self) -> None:
        asked = []

        def log(name: str, container: str, before: bool) -> str:
            asked.append((name, container, before))
            return "".join(f"line {number}\n" for number in range(40)) + "KeyError: 'image'\n"

        why = stuck_reason([pod(CRASHED)], PodFacts(log))
        assert why is not None
        first, *lines = why.splitlines()
        assert first == (
            f"pod jupyter-1: container notebook: CrashLoopBackOff, image {IMAGE}: back-off 10s. "
            "Last output: KeyError: 'image'"
        )
        assert len(lines) == 15
        assert lines[-1] == "  | KeyError: 'image'"
        assert asked == [("jupyter-1", "notebook", True)]

    def test_the_second_crash_is_told_before_the_kubelet_says_that_it_waits(self) -> None:
        twice = container(state(ended="Error"))
        twice.restart_count, twice.state.terminated.exit_code = 1, 127
        # Of a run that has ended the kubelet keeps the log, and of the one before no longer.
        log = PodFacts(lambda pod, container, before: "" if before else "singleuser: not found\n")
        why = stuck_reason([pod(twice)], log)
        assert why == (
            f"pod jupyter-1: container notebook crashed twice, exit code 127, image {IMAGE}. "
            "Last output: singleuser: not found\n  | singleuser: not found"
        )

    def test_hook_that_failed_is_named_after_the_kubelet_went_on(self) -> None:
        failed = warning(HOOK_FAILED, "PostStartHook failed")
        failed.involved_object.name = "jupyter-1"
        twice = container(state(ended="Error"))
        twice.restart_count = 1
        facts = PodFacts(lambda pod, container, before: "serving\n", warnings=lambda: [failed])
        for crashed in (CRASHED, twice):
            assert ". FailedPostStartHook: PostStartHook failed. Last output" in str(
                stuck_reason([pod(crashed)], facts)
            )

    def test_what_never_ran_is_told_as_the_runtime_tells_it(self) -> None:
        before = state(ended="StartError")
        before.terminated.message = "no such namespace"
        why = stuck_reason([pod(container(state("CrashLoopBackOff"), before))])
        # Its sandbox may have been killed for its memory, and no more is said of that.
        assert why == (
            "pod jupyter-1: container notebook: CrashLoopBackOff, StartError with a memory limit of 2Gi: "
            f"no such namespace, image {IMAGE}"
        )
        without = stuck_reason([pod(container(state("CrashLoopBackOff"), before, name="sidecar"))])
        assert without is not None
        assert "CrashLoopBackOff, StartError: no such namespace" in without

    def test_a_program_that_is_not_there_has_nothing_to_do_with_memory(self) -> None:
        before = state(ended="StartError")
        before.terminated.message = 'exec: "start-singleuser": executable file not found in $PATH'
        why = stuck_reason([pod(container(state("CrashLoopBackOff"), before))])
        assert why is not None
        assert "memory" not in why

    @pytest.mark.parametrize(("restarts", "code"), [(0, 1), (1, 0)])
    def test_one_crash_may_be_a_chance(self, restarts: int, code: int) -> None:
        ended = container(state(ended="Error"))
        ended.restart_count, ended.state.terminated.exit_code = restarts, code
        assert stuck_reason([pod(ended)]) is None

    def test_no_log_is_asked_for_where_nothing_ran(self) -> None:
        def log(name: str, container: str, before: bool) -> str:
            raise AssertionError("there is no log of what was never started")

        assert stuck_reason([pod(container(state("ErrImagePull")))], PodFacts(log))

    def test_a_pod_that_has_failed_is_not_started_anew(self) -> None:
        ended = state(ended="Error")
        ended.terminated.exit_code, ended.terminated.message = 2, "no such option"
        failed = pod(container(ended))
        failed.status.phase = "Failed"
        assert stuck_reason([failed]) == (
            f"pod jupyter-1 has failed: container notebook ended with exit code 2, Error: no such option, image {IMAGE}"
        )

    def test_a_pod_that_was_evicted(self) -> None:
        evicted = pod()
        evicted.status.phase, evicted.status.reason, evicted.status.message = "Failed", "Evicted", "low on memory"
        assert stuck_reason([evicted]) == "pod jupyter-1 has failed, Evicted: low on memory"
        # Of a Deployment's there will be another one.
        owner = client.V1OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="hub", uid="1")
        evicted.metadata.owner_references = [owner]
        assert stuck_reason([evicted]) is None


class TestNotStarted:
    @pytest.mark.parametrize(
        ("reason", "count", "message", "phase", "age", "expected"),
        [
            ("FailedMount", 5, 'secret "keys" not found', "Pending", 20, "pod hub-1 waits for what is not there"),
            ("FailedMount", 1, 'secret "keys" not found', "Pending", 20, ""),
            ("FailedMount", 5, "failed to sync secret cache: timed out", "Pending", 20, ""),
            ("FailedMount", 5, 'secret "keys" not found', "Running", 20, ""),
            ("FailedMount", 5, 'secret "keys" not found', "Pending", 1, ""),
            ("FailedCreatePodSandBox", 1, "OOM-killed", "Pending", 20, "pod hub-1 has too little memory to begin"),
            ("FailedCreatePodSandBox", 1, "no network yet", "Pending", 20, ""),
        ],
        ids=["in vain", "at first", "busy", "begun", "new", "no memory", "no network"],
    )
    def test_an_event_names_the_reason(
        self, reason: str, count: int, message: str, phase: str, age: int, expected: str
    ) -> None:
        facts = PodFacts(warnings=lambda: [warning(reason, message, count)])
        found = stuck_reason([late_pod(phase, age)], facts)
        assert found == (f"{expected}, {reason}: {message}" if expected else None)

    @pytest.mark.parametrize("ready", ["True", "False", "Unknown"])
    @pytest.mark.parametrize("on", ["worker", "other", None])
    def test_its_node_is_lost(self, ready: str, on: str | None) -> None:
        facts = PodFacts(nodes=lambda: [node("worker", ready)])
        lost = (ready, on) == ("Unknown", "worker")
        reason = f"pod hub-1 waits for node worker, which is lost: the kubelet is {ready}"
        assert stuck_reason([late_pod(node=on)], facts) == (reason if lost else None)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        (["", "", "new"], None),
        (["new", "new", "new"], None),
        (["old, ending", "", "new"], None),
        (["new", ""], None),
        (["new", "", "new", ""], None),
        (["new", "", ""], "pod new is gone, and not by the hub: deleted, evicted, or its node is gone"),
        (["", "new", "new, ending", "", ""], "pod new is gone"),
    ],
)
def test_disappearance(looks: list[str], expected: str | None) -> None:
    clock = itertools.count(step=RECREATED_WITHIN + 1)
    disappearance = Disappearance(lambda: next(clock))
    reasons = []
    for look in looks:
        name, *ending = look.split(", ")
        about = client.V1ObjectMeta(name=name, deletion_timestamp=datetime.now(UTC) if ending else None)
        reasons.append(disappearance.reason([client.V1Pod(metadata=about)] if name else []))
    assert not any(reasons[:-1]), f"said too soon: {reasons}"
    assert (reasons[-1] or "").startswith(expected or ""), f"said in the end: {reasons[-1]}"
    assert bool(reasons[-1]) == bool(expected), f"said in the end: {reasons[-1]}"


@pytest.mark.parametrize(
    ("replicas", "refused_for", "expected"),
    [
        (1, None, None),
        (0, None, "there is no pod of the hub in jupyter: its Deployment wants none"),
        (1, timedelta(seconds=1), None),
        (1, CREATED_WITHIN + timedelta(seconds=1), "hub gets no pod, FailedCreate: exceeded quota"),
    ],
    ids=["about to come", "none wanted", "refused a moment ago", "refused"],
)
def test_no_pod_reason(replicas: int, refused_for: timedelta | None, expected: str | None) -> None:
    conditions = []
    if refused_for:
        since = datetime.now(UTC) - refused_for
        refusal = {"reason": "FailedCreate", "message": "exceeded quota", "last_transition_time": since}
        conditions = [client.V1DeploymentCondition(type="ReplicaFailure", status="True", **refusal)]
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="hub", namespace="jupyter"),
        spec=client.V1DeploymentSpec(
            replicas=replicas, selector=client.V1LabelSelector(), template=client.V1PodTemplateSpec()
        ),
        status=client.V1DeploymentStatus(conditions=conditions),
    )
    assert no_pod_reason(deployment) == expected


class TestEnds:
    @pytest.mark.parametrize(
        ("reason", "code", "expected"),
        [
            ("OOMKilled", 137, "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi"),
            ("Error", 1, "pod jupyter-1: container notebook ended with exit code 1 (Error)"),
            ("Error", 143, None),
            ("Completed", 0, None),
        ],
    )
    def test_bad_end(self, reason: str, code: int, expected: str | None) -> None:
        before = state(ended=reason)
        before.terminated.exit_code, before.terminated.finished_at = code, datetime.fromtimestamp(1000, UTC)
        again = [pod(container(state(), before, ready=True))]
        assert bad_end(again, since=1000) == expected
        assert bad_end(again, since=1001) is None

    def test_oom_killed(self) -> None:
        assert oom_killed([pod(), pod(container(state(), state(ended="OOMKilled"), ready=True))])
        assert not oom_killed([pod(container(state(), state(ended="Error")))])
