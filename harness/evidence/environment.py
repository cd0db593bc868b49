"""The ground under a run: Docker, disk, containers, API server. Where it gave way, a failure proves nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.base.errors import EnvironmentFault
from harness.base.shell import CommandError
from harness.cluster.kind import Cluster
from harness.host import docker
from harness.host.requirements import GIB, daemon_answers, docker_root
from harness.plan.plan import Plan

FLOOR = GIB // 4
"""Bytes under which a disk counts as full: what writes next, fails."""
API_SECONDS = 5
"""Seconds that the API server has for a single word."""
TRIES = 2
"""Times that it is asked: one slow answer is a busy machine."""
PARTS = {
    "control-plane": ("node container", "nothing in the cluster answers"),
    "worker": ("node container", "none of its pods answers"),
    "registry": ("private registry's container", "no image can be pulled"),
    "moto": ("container of moto", "nobody plays AWS"),
    "postgres": ("container of Postgres", "the hubs have no database"),
}
"""The containers of a run by the end of their names: what each is, and what follows when it does not run."""


def parts(name: str) -> dict[str, tuple[str, str]]:
    """The containers that a whole run has, by their full names: what each is, and what follows without it."""
    return {f"{name}-{end}": about for end, about in PARTS.items()}


def fault(plan: Plan, cluster: Cluster | None, *, whole: bool = True) -> str:
    """What of the ground gave way, in one line; empty where it holds. Takes a second, and half a minute at most.

    Args:
        cluster: None while there is none.
        whole: False while the run's containers are being started: what is not there yet is no fault then.
    """
    checks: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: _disks(plan),
        lambda: _containers(plan.name, whole=whole),
        lambda: _api(cluster) if cluster else iter(()),
        lambda: _nodes(cluster) if cluster else iter(()),
    )
    try:
        return next((found for check in checks for found in check()), "")
    except CommandError as error:
        return f"The Docker daemon does not answer: nothing of {plan.name} can be reached. {str(error).splitlines()[0]}"


@contextmanager
def watched(name: str, gave_way: Callable[[EnvironmentFault], None]) -> Iterator[None]:
    """Hear of it at once when one of a run's containers, or Docker, gives way: a call to it may wait half a minute.

    Args:
        gave_way: called once, in a thread of its own.
    """
    over = threading.Event()

    def listen(failures: Iterator[str]) -> None:
        said = next(failures, "")
        if over.is_set() or not (said or not daemon_answers()):
            return
        gave_way(EnvironmentFault(f"The container {said}." if said else "The Docker daemon does not answer."))

    with docker.failures(parts(name)) as failures:
        threading.Thread(target=listen, args=(failures,), name="ground", daemon=True).start()
        try:
            yield
        finally:
            over.set()


def _disks(plan: Plan) -> Iterator[str]:
    for place in (docker_root(), plan.state, plan.cache, plan.evidence):
        there = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < FLOOR:
            yield f"The disk is full: {free / GIB:.2f} GiB are free under {place}. Make room (docker system prune)."


def _containers(name: str, *, whole: bool) -> Iterator[str]:
    there = docker.containers(name)
    for container, (what, follows) in parts(name).items():
        status = there.get(container, "gone" if whole else "")
        if status == "gone":
            yield f"The {what} {container} is gone: {follows}."
        elif "(Paused)" in status:
            yield f"The {what} {container} is paused: {follows}."
        elif status and not status.startswith(("Up", "Created")):
            yield f"The {what} {container} does not run ({status}): {follows}.{_last_word(container)}"


def _last_word(container: str) -> str:
    said = docker.last_words(container)
    return f" It said last: {said}" if said else ""


def _api(cluster: Cluster) -> Iterator[str]:
    why = ""
    for _ in range(TRIES):
        why = cluster.why_silent(API_SECONDS)
        if not why:
            return
    yield f"The API server gives no answer within {API_SECONDS} s, asked {TRIES} times: {why}"


def _nodes(cluster: Cluster) -> Iterator[str]:
    for node, why in cluster.lost(API_SECONDS).items():
        yield f"The node {node} is lost: {why} None of its pods answers."
