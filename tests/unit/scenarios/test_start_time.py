"""The parts of a start, and which of them are too long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes import client

from harness.scenarios.start_time import PodTimes, parts_of

PLAIN = PodTimes(created=100, scheduled=100, initialized=101, started=102, ready=105)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def started(
    *, scheduled: float = 100, initialized: float = 101, running: float = 102, ready: float = 102, **spec: Any
) -> client.V1Pod:
    """A student's pod, created at 100."""
    conditions = {"PodScheduled": scheduled, "Initialized": initialized, "Ready": ready}
    hook = client.V1LifecycleHandler(_exec=client.V1ExecAction(command=["sh", "-c", "sleep 20"]))
    server = client.V1Container(name="notebook", lifecycle=client.V1Lifecycle(post_start=hook))
    state = client.V1ContainerState(running=client.V1ContainerStateRunning(started_at=at(running)))
    status = client.V1ContainerStatus(name="notebook", image="", image_id="", ready=True, restart_count=0, state=state)
    # The kubelet sorts them by name.
    sidecar = client.V1ContainerStatus(name="a", image="", image_id="", ready=True, restart_count=0)
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="jupyter-1", creation_timestamp=at(100)),
        spec=client.V1PodSpec(containers=[server], scheduler_name="jupyterhub-user-scheduler", **spec),
        status=client.V1PodStatus(
            conditions=[
                client.V1PodCondition(type=name, status="True", last_transition_time=at(when))
                for name, when in conditions.items()
            ],
            container_statuses=[sidecar, status],
        ),
    )


def faults(pod: client.V1Pod, *, came: float = 99.5, answered: float = 106) -> list[str]:
    return [part.fault for part in parts_of(pod, PLAIN, came=came, answered=answered) if part.fault]


def test_start_that_takes_what_a_plain_one_takes() -> None:
    assert faults(started()) == []


def test_start_on_a_machine_as_slow_as_for_the_plain_one() -> None:
    slow = PodTimes(created=100, scheduled=110, initialized=130, started=150, ready=200)
    pod = started(scheduled=112, initialized=140, running=170, ready=171)
    assert not [part.fault for part in parts_of(pod, slow, came=99, answered=240) if part.fault]


@pytest.mark.parametrize(
    ("pod", "when", "expected"),
    [
        (
            started(),
            {"came": 80.0},
            "the hub, before it asked for a pod, took 20 s, expected at most 15 s (2 s of a plain server). What runs "
            "then: the login, pre_spawn_hook, modify_pod_hook, and the spawner's own start",
        ),
        (
            started(initialized=120, running=121, ready=121, init_containers=[client.V1Container(name="fetch")]),
            {"answered": 124.0},
            "what runs before the server's container took 20 s, expected at most 12 s (1 s of a plain server). What "
            "runs then: the init container fetch",
        ),
        (
            started(ready=122),
            {"answered": 123.0},
            "the pod, from its server's container to its being ready, took 20 s, expected at most 15 s (2 s of a plain "
            "server). What runs then: the hook postStart 'sh -c sleep 20'",
        ),
        (
            started(),
            {"answered": 125.0},
            "the server, from its container to its first answer, took 23 s, expected at most 18 s (3 s of a plain "
            "server). What runs then: the image's entry point, and what the server loads",
        ),
        (
            started(scheduled=120, initialized=120, running=120, ready=120),
            {"answered": 124.0},
            "the scheduler took 20 s, expected at most 10 s (0 s of a plain server). What runs then: "
            "jupyterhub-user-scheduler",
        ),
    ],
    ids=["hub", "init container", "hook", "entry point", "scheduler"],
)
def test_part_that_holds_up_a_start_is_named(pod: client.V1Pod, when: dict[str, float], expected: str) -> None:
    assert faults(pod, **when) == [expected]
