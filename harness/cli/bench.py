"""The benchmark: the time of the harness over that of the bare minimum, measured in one run on one machine.

The floor is what a person would type: `kind create cluster` with the same node image and configuration, `helm install
--wait` of the same chart with the same values, both hubs side by side, and one server asked from the hub's API. The
registry and Postgres are there already for it, filled, and the harness's own cluster is paused meanwhile.

`helm --wait` also waits for the pre-puller to have every course on every node. The first student does not, so the
ratio to the floor without that wait is reported as well.

One change is an edit of the spawner whose promises are checked first: the seconds from pytest's start to their end. A
kept copy whose containers were stopped, as a restart of Docker stops them, is held against a warm start. The machine's
speed, which every one of these figures hangs on, is that of one core at a hash.

The whole suite, from boot to teardown, is held against the bare boot, the waits for the culler, and the CPU time that
the suite's servers take to start and to end, shared out to all cores.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError, run
from harness.base.signals import threads
from harness.base.wait import NotYet, seldom, wait_until
from harness.charts.chart import Release
from harness.cluster.kind import Cluster
from harness.deployment import boot, releases, rollout, teardown
from harness.deployment.inputs import changed_places, read_inputs
from harness.deployment.model import Deployment
from harness.drills.promise_index import FIRST_TEST, SUITE
from harness.drills.pytest_run import pytest_options
from harness.drills.selection import known_places, select_promises
from harness.host import docker
from harness.hub.api import Hub
from harness.hub.culler import Times
from harness.plan.contract import CULL_EVERY, CULL_MAX_AGE, CULL_TIMEOUT
from harness.plan.hubs import SCALED, STUDENT
from harness.plan.plan import Plan
from harness.report.outcomes import SELF_CHECKS
from harness.scenarios.scaled_hub import scaled_times

CULLED = scaled_times(Times(CULL_EVERY, CULL_TIMEOUT, CULL_MAX_AGE))
CULLER_WAITS = CULLED.max_age + CULLED.timeout + 2 * CULLED.every
"""Seconds in which the suite watches servers live under the culler: to their maximum age, and idle after a restart."""
SUITE_SECONDS = 3600.0
IDLE = 10.0
"""Seconds for which the nodes are watched doing nothing."""
EDITS = 3
"""Edits of the spawner whose median counts: a hub is found ready up to two seconds late, by its probe."""
LIMITS = {"warm start": 1.15, "spawner edit": 1.3, "whole suite": 1.6, "Docker restart": 0.5}
"""Highest accepted ratios of the harness to the floor."""
SECONDS = {"kept cluster": 10.0, "one change": 60.0}
"""Most seconds: of a run on a kept, unchanged cluster to its first test, and from an edit to its verdict."""
ONE_CHANGE = "c.Authenticator.allow_all = True"
"""A statement of the spawner that drills change, and that changes nothing where it stands already."""
HASHED = 256 * 2**20
"""Bytes whose SHA-256 tells the machine's speed."""


def bench(plan: Plan, steps: Steps) -> None:
    """Measure, print the ratios, and write bench.json into the evidence directory.

    Raises:
        HarnessError: a ratio is over its limit.
    """
    kept, first = dataclasses.replace(plan, keep=True), f"{SUITE}/{FIRST_TEST}"
    teardown.remove(plan, steps)
    try:
        suite = _timed(lambda: _tests(kept, SUITE, SELF_CHECKS))
        servers = _servers_started(boot.boot(kept, steps))
        suite += _timed(lambda: teardown.remove(plan, steps))
        warm = _timed(lambda: _tests(kept, first))
        running = boot.boot(kept, steps)
        spawn = _spawn_seconds(running.student, running.cluster)
        again = _timed(lambda: _tests(kept, first))
        server_cpu = _server_cpu_seconds(running)
        change = _timed(lambda: _check_one_change(kept))
        back = _timed_after_stop(kept, first)
        running = boot.boot(kept, steps)
        edits, upgrades = zip(*(_edits(kept, first, running) for _ in range(EDITS)), strict=True)
        edit_spawn = _spawn_seconds(running.student, running.cluster)
        bare, unpulled = _floor(running)
    finally:
        teardown.remove(plan, steps)
    suite_floor = {
        "bare boot": bare["kind create cluster"] + bare["helm install --wait"],
        "waits for the culler": CULLER_WAITS,
        f"{servers} servers of {server_cpu:.1f} s of CPU": servers * server_cpu / (os.cpu_count() or 1),
    }
    figures: dict[str, dict[str, object]] = {
        "warm start": {
            "harness": warm + spawn,
            "floor": sum(bare.values()),
            "floor parts": bare,
            "ratio without waiting for the pre-puller": round((warm + spawn) / (sum(bare.values()) - unpulled), 3),
        },
        "kept cluster": {"harness": again},
        "one change": {"harness": change},
        "Docker restart": {"harness": back, "floor": warm},
        "spawner edit": {
            "harness": statistics.median(edits) + edit_spawn,
            "floor": statistics.median(upgrades) + edit_spawn,
            "measured": {"harness": edits, "floor": upgrades},
        },
        "whole suite": {"harness": suite, "floor": sum(suite_floor.values()), "floor parts": suite_floor},
    }
    over = _report(figures, plan.evidence / "bench.json", steps)
    if over:
        raise HarnessError(f"Slower than it may be: {'; '.join(over)}")


def _report(figures: dict[str, dict[str, object]], file: Path, steps: Steps) -> list[str]:
    """Print the figures, write them into a file, and return those over their limits."""
    over = []
    for name, figure in figures.items():
        harness = float(str(figure["harness"]))
        if "floor" in figure:
            ratio = harness / float(str(figure["floor"]))
            figure["ratio"], figure["limit"] = round(ratio, 3), LIMITS[name]
            verdict = f"{ratio:.2f} x the floor of {figure['floor']:.1f} s, at most {LIMITS[name]}"
            too_slow = ratio > LIMITS[name]
        else:
            figure["limit"] = SECONDS[name]
            verdict = f"at most {SECONDS[name]:.0f} s"
            too_slow = harness > SECONDS[name]
        steps.say(f"{name:<14} {harness:6.1f} s  {verdict}{'  OVER' if too_slow else ''}")
        if too_slow:
            over.append(f"{name} ({verdict})")
    speed = HASHED / 2**20 / _timed(lambda: hashlib.sha256(bytes(HASHED)))
    steps.say(f"{'machine':<14} {speed:6.0f} MiB/s of SHA-256 by one of {os.cpu_count()} cores")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**figures, "machine": {"SHA-256 MiB/s": round(speed)}}, indent=2))
    steps.say(f"Written to {file}")
    return over


def _tests(plan: Plan, which: str, *more: str) -> None:
    """Run tests as a person would, in a process of its own that keeps the cluster."""
    command = [sys.executable, "-m", "pytest", which, *pytest_options(plan), *more]
    try:
        run(command, cwd=plan.checkout, timeout=SUITE_SECONDS, what=which)
    except CommandError as error:
        raise HarnessError(f"{which} did not pass:\n{error.output[-2000:]}") from error


def _edits(plan: Plan, which: str, running: Deployment) -> tuple[float, float]:
    """Measure the seconds of a run after an edit of the spawner, and of the bare upgrade with another."""
    edited = _edited_spawner(plan)
    return _timed(lambda: _tests(plan, which, "--spawner", str(edited))), _bare_upgrade(running, edited)


def _check_one_change(plan: Plan) -> None:
    """Run the promises that an edit of the spawner can touch, as a run on a kept copy does before all others."""
    edited = plan.state / "changed_spawner.py"
    edited.write_text(f"{plan.spawner.read_text()}\n{ONE_CHANGE}\n")
    places = changed_places(read_inputs(plan), read_inputs(dataclasses.replace(plan, spawner=edited)))
    selection = select_promises(places, known_places(plan.checkout, plan.spawner.read_text()))
    if not selection.narrow:
        raise HarnessError(f"No drill changes {', '.join(selection.unknown) or ONE_CHANGE}: the edit selects nothing")
    first, *more = (f"{SUITE}/{test}" for test in sorted(selection.tests))
    _tests(plan, first, *more, "--spawner", str(edited))


def _timed_after_stop(plan: Plan, which: str) -> float:
    """Stop the containers of a kept copy, and measure the seconds of a run that has it come back."""
    # Not --timeout, which older Dockers do not know.
    docker.docker("stop", "-t", "10", *docker.running(plan.name), timeout=120)
    return _timed(lambda: _tests(plan, which))


def _edited_spawner(plan: Plan) -> Path:
    """Write the spawner file with a comment added, the smallest edit that must reach the hub."""
    edited = plan.state / "edited_spawner.py"
    edited.write_text(plan.spawner.read_text() + f"\n# Edited {uuid.uuid4()}\n")
    return edited


def _spawn_seconds(hub: Hub, cluster: Cluster) -> float:
    """Measure the seconds from asking the hub's API for a server to its being ready."""
    user = f"bench-{uuid.uuid4().hex[:8]}"
    hub.api.post(f"/users/{user}").raise_for_status()

    def ready() -> bool | NotYet:
        model = hub.api.get(f"/users/{user}").raise_for_status().json()
        return bool(model["server"]) or NotYet(f"pending: {model['pending']}")

    def spawn() -> None:
        hub.api.post(f"/users/{user}/server", json={}).raise_for_status()
        stuck = seldom(cluster.pods(hub.namespace).server_probe(user))
        wait_until("a server asked from the API", ready, timeout=180, fail_if=stuck)

    try:
        return _timed(spawn)
    finally:
        hub.delete_user(user)


def _servers_started(running: Deployment) -> int:
    """Count the servers that all hubs have started since their databases were made."""
    started = "SELECT last_value FROM servers_id_seq WHERE is_called"
    rows = [running.database.query(spec.database, started) for spec in (*running.plan.hubs, SCALED)]
    return sum(int(row[0][0]) for row in rows if row)


def _server_cpu_seconds(running: Deployment) -> float:
    """Measure the seconds of CPU that the nodes spend on one server's start and end, over those they spend anyway."""
    idle_from, idle_began = _cpu_seconds(running.cluster), time.monotonic()
    wait_until(
        "a while in which the nodes do nothing",
        lambda: time.monotonic() - idle_began >= IDLE or NotYet("it is not over"),
        timeout=2 * IDLE,
    )
    began, started = _cpu_seconds(running.cluster), time.monotonic()
    idle = (began - idle_from) / (started - idle_began)
    _spawn_seconds(running.student, running.cluster)
    return _cpu_seconds(running.cluster) - began - idle * (time.monotonic() - started)


def _cpu_seconds(cluster: Cluster) -> float:
    """Return the seconds of CPU that all nodes have used (cgroup v1's cpuacct.usage, or cgroup v2's usage_usec)."""
    v1, v2 = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage", "sed -n 's/^usage_usec //p' /sys/fs/cgroup/cpu.stat"
    look = f"if [ -e /sys/fs/cgroup/cpuacct ]; then {v1}; else echo $(($({v2}) * 1000)); fi"
    return sum(int(docker.docker("exec", node, "sh", "-c", look)) for node in cluster.nodes) / 1e9


def _floor(running: Deployment) -> tuple[dict[str, float], float]:
    """Measure the three bare steps in seconds, on a second cluster on the same network, and the pre-puller's part."""
    plan, made = running.plan, running.artifacts
    state = plan.state / "floor"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(running.cluster.certs, state / "certs.d")
    name = f"{plan.name}-floor"
    bare = Cluster(name, state, kind=made.kind, kubectl=made.kubectl, image=made.node_image, network=plan.name)
    docker.docker("pause", *running.cluster.nodes)
    try:
        create = _timed(lambda: bare.create(plan.checkout / "kind-config.yaml", hub_port=0, authoring_port=0))
        for spec in plan.hubs:
            objects = running.helm.template(running.chart, running.releases[spec])
            bare.apply(spec.namespace, *releases.prerequisites(objects, spec, running.database))
        with threads(1) as side:
            installing = side.submit(_timed, lambda: _helm_wait("install", running, bare, running.releases.values()))
            hubs = _timed(lambda: _hubs_ready(bare, plan))
            install = installing.result()
        hub = dataclasses.replace(running.student, url=bare.hub_url(STUDENT.node_port))
        spawn = _spawn_seconds(hub, bare)
        parts = {"kind create cluster": create, "helm install --wait": install, "one spawn": spawn}
        return parts, install - hubs
    finally:
        docker.docker("unpause", *running.cluster.nodes)
        docker.remove(bare.name, "")


def _bare_upgrade(running: Deployment, spawner: Path) -> float:
    """Measure the seconds of a bare `helm upgrade --wait` that brings an edited spawner to both hubs."""
    edited = spawner.with_name("edited_again.py")
    edited.write_text(spawner.read_text() + "# and again\n")
    changed = [
        dataclasses.replace(release, set_files=dict.fromkeys(release.set_files, edited))
        for release in running.releases.values()
    ]
    return _timed(lambda: _helm_wait("upgrade", running, running.cluster, changed))


def _hubs_ready(cluster: Cluster, plan: Plan) -> None:
    """Wait until all that the first student needs is there, as a run of the harness does."""
    for spec in plan.hubs:
        deployments = f"the Deployments of {spec.namespace}"
        wait_until(deployments, functools.partial(_has_deployments, cluster, spec.namespace), timeout=120)
        rollout.wait_until_ready(cluster, spec.namespace)


def _has_deployments(cluster: Cluster, namespace: str) -> bool | NotYet:
    return len(cluster.apps.list_namespaced_deployment(namespace).items) >= 3 or NotYet("not all of them")


def _helm_wait(verb: str, running: Deployment, cluster: Cluster, releases: Collection[Release]) -> None:
    with threads(len(releases)) as side:
        list(side.map(lambda release: _helm(running, cluster, verb, release), releases))


def _helm(running: Deployment, cluster: Cluster, verb: str, release: Release) -> None:
    run(
        [
            running.artifacts.helm, verb, release.name, running.chart.path, f"--namespace={release.namespace}",
            f"--kubeconfig={cluster.kubeconfig}", "--wait", "--timeout=5m", *release.arguments(),
        ],
        timeout=330,
        what=f"helm {verb}",
    )  # fmt: skip


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
