"""The benchmark: the time of the harness over that of the bare minimum, measured in one run on one machine.

The floor is what a person would type: `kind create cluster` with the same node image and configuration, `helm install
--wait` of the same chart with the same values, both hubs side by side, and one server asked from the hub's API. The
registry and Postgres are there already for it, filled, and the harness's own cluster is paused meanwhile.

`helm --wait` also waits for the pre-puller to have every course on every node. The first student does not, so the
ratio to the floor without that wait is reported as well.

The first run builds everything once more, in a Docker and in caches that have nothing yet. One change is an edit of
each kind that people make: the seconds from pytest's start to the end of the promises that the edit can touch. A kept
copy whose containers were stopped, as a restart of Docker stops them, is held against a warm start. The machine's
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
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError, run, tail
from harness.base.signals import threads
from harness.base.wait import NotYet, seldom, wait_until
from harness.charts.chart import Release
from harness.cluster.kind import Cluster
from harness.courses.images import course_repositories
from harness.deployment import boot, releases, rollout, teardown
from harness.deployment.gate import gate_routes, written
from harness.deployment.infrastructure import PRE_PULLER
from harness.deployment.model import Deployment
from harness.drills.promise_index import FIRST_TEST, SUITE
from harness.drills.pytest_run import pytest_options
from harness.drills.selection import select_for_change
from harness.host import docker
from harness.hub.api import Hub
from harness.hub.culler import Times
from harness.people.link import EXAMPLE
from harness.plan.contract import CULL_EVERY, CULL_MAX_AGE, CULL_TIMEOUT
from harness.plan.hubs import SCALED, STUDENT
from harness.plan.plan import Plan
from harness.report.outcomes import SELF_CHECKS
from harness.scenarios.scaled_hub import scaled_times

CULLED = scaled_times(Times(CULL_EVERY, CULL_TIMEOUT, CULL_MAX_AGE))
CULLER_WAITS = CULLED.max_age + CULLED.timeout + 2 * CULLED.every
"""Seconds in which the suite watches servers live under the culler: to their maximum age, and idle after a restart."""
SUITE_SECONDS, BUILD_SECONDS = 3600.0, 5400.0
IDLE = 10.0
"""Seconds for which the nodes are watched doing nothing."""
EDITS = 3
"""Edits of the spawner whose median counts: a hub is found ready up to two seconds late, by its probe."""
PULL_SECONDS = 300
"""Seconds for the pre-puller to be done."""
LIMITS = {"warm start": 1.15, "spawner edit": 1.3, "whole suite": 1.6, "Docker restart": 0.5}
"""Highest accepted ratios of the harness to the floor."""
FIRST_BUILDS, KEPT, ONE_CHANGE = 600.0, 10.0, 60.0
"""Most seconds: of the builds of a first run, of a run on a kept, unchanged cluster to its first test, and from an edit
to its verdict."""
CULL = "cull: {timeout: 960}"
"""A value that promises hold to its limits, which it keeps."""
STATEMENT = "c.Authenticator.allow_all = True"
"""A statement of the spawner that drills change, and that changes nothing where it stands already."""
COOKIE = ("jupyterhub_apisix_session", "jupyterhub_gate_session")
"""A name of the gate's cookie, and one that does as well."""
HASHED = 256 * 2**20
"""Bytes whose SHA-256 tells the machine's speed."""


class Figures:
    """Figures that are printed and written down as they come, so that a failure later on loses none.

    Args:
        file: JSON file of all figures.

    Attributes:
        over: those that are over their limit.
    """

    def __init__(self, file: Path, steps: Steps) -> None:
        self.over: list[str] = []
        self._figures: dict[str, dict[str, object]] = {}
        self._file, self._steps = file, steps
        file.parent.mkdir(parents=True, exist_ok=True)

    def seconds(self, name: str, harness: float, limit: float) -> None:
        """Hold seconds to their limit."""
        self._add(name, harness, f"at most {limit:.0f} s", harness > limit, {"limit": limit})

    def ratio(self, name: str, harness: float, floor: float, more: Mapping[str, object]) -> None:
        """Hold the ratio of seconds to those of their floor to its limit.

        Args:
            more: what the figures are made of, for the file.
        """
        ratio, limit = harness / floor, LIMITS[name]
        verdict = f"{ratio:.2f} x the floor of {floor:.1f} s, at most {limit}"
        self._add(name, harness, verdict, ratio > limit, {"floor": floor, "ratio": round(ratio, 3), **more})

    def machine(self) -> None:
        """Add the speed of the machine, on which all other figures hang."""
        speed = HASHED / 2**20 / _timed(lambda: hashlib.sha256(bytes(HASHED)))
        self._steps.say(f"{'machine':<17} {speed:6.0f} MiB/s of SHA-256 by one of {os.cpu_count()} cores")
        self._write("machine", {"SHA-256 MiB/s": round(speed)})

    def _add(self, name: str, harness: float, verdict: str, over: bool, more: Mapping[str, object]) -> None:
        self._steps.say(f"{name:<17} {harness:6.1f} s  {verdict}{'  OVER' if over else ''}")
        if over:
            self.over.append(f"{name} ({verdict})")
        self._write(name, {"harness": harness, **more})

    def _write(self, name: str, figure: dict[str, object]) -> None:
        self._figures[name] = figure
        self._file.write_text(json.dumps(self._figures, indent=2))


def bench(plan: Plan, steps: Steps) -> None:
    """Measure, print the figures, and write bench.json into the evidence directory.

    Raises:
        HarnessError: a figure is over its limit.
    """
    kept, first = dataclasses.replace(plan, keep=True), f"{SUITE}/{FIRST_TEST}"
    figures = Figures(plan.evidence / "bench.json", steps)
    figures.machine()
    teardown.remove(plan, steps)
    figures.seconds("first builds", _first_builds(plan), FIRST_BUILDS)
    try:
        suite = _timed(lambda: _tests(kept, SUITE, SELF_CHECKS))
        steps.say(f"{'whole suite':<17} {suite:6.1f} s  before its end; its floor comes last")
        servers = _servers_started(boot.boot(kept, steps))
        suite += _timed(lambda: teardown.remove(plan, steps))
        warm = _timed(lambda: _tests(kept, first))
        running = boot.boot(kept, steps)
        spawn = _spawn_seconds(running.student, running.cluster)
        figures.seconds("kept cluster", _timed(lambda: _tests(kept, first)), KEPT)
        _wait_for_pre_puller(running)
        server_cpu = _server_cpu_seconds(running)
        figures.ratio("Docker restart", _timed_after_stop(kept, first, steps), warm, {})
        running = boot.boot(kept, steps)
        _wait_for_pre_puller(running)
        edits, upgrades = zip(*(_edits(kept, first, running) for _ in range(EDITS)), strict=True)
        edit_spawn = _spawn_seconds(running.student, running.cluster)
        edit, upgrade = (statistics.median(each) + edit_spawn for each in (edits, upgrades))
        figures.ratio("spawner edit", edit, upgrade, {"measured": {"harness": edits, "floor": upgrades}})
        for name, plan_of_edit in one_changes(kept):
            figures.seconds(name, _timed(functools.partial(_check_change, plan_of_edit)), ONE_CHANGE)
        bare, unpulled = _floor(running)
    finally:
        teardown.remove(plan, steps)
    start, floor = warm + spawn, sum(bare.values())
    unwaited = {"ratio without waiting for the pre-puller": round(start / (floor - unpulled), 3)}
    figures.ratio("warm start", start, floor, {"floor parts": bare, **unwaited})
    parts = {
        "bare boot": bare["kind create cluster"] + bare["helm install --wait"],
        "waits for the culler": CULLER_WAITS,
        f"{servers} servers of {server_cpu:.1f} s of CPU": servers * server_cpu / (os.cpu_count() or 1),
    }
    figures.ratio("whole suite", suite, sum(parts.values()), {"floor parts": parts})
    steps.say(f"Written to {plan.evidence / 'bench.json'}")
    if figures.over:
        raise HarnessError(f"Slower than it may be: {'; '.join(figures.over)}")


def _tests(plan: Plan, which: str, *more: str) -> str:
    """Run tests as a person would, in a process of its own that keeps the cluster; return what it printed."""
    command = [sys.executable, "-m", "pytest", which, *pytest_options(plan), *more]
    try:
        return run(command, cwd=plan.checkout, timeout=SUITE_SECONDS, what=which)
    except CommandError as error:
        raise HarnessError(f"{which} did not pass:\n{error.output[-2000:]}") from error


def _edits(plan: Plan, which: str, running: Deployment) -> tuple[float, float]:
    """Measure the seconds of a run after an edit of the spawner, and of the bare upgrade with another."""
    edited = _edited_spawner(plan)
    return _timed(lambda: _tests(plan, which, "--spawner", str(edited))), _bare_upgrade(running, edited)


def one_changes(plan: Plan) -> Generator[tuple[str, Plan], None, None]:
    """Edit what people edit, one kind after the other, and yield each with the plan that has it.

    A course's Dockerfile is edited where it is, until the next is asked for.
    """
    place = plan.state / "edits"
    place.mkdir(exist_ok=True)
    cull = _new_file(place / "cull.yaml", CULL)
    spawner = _new_file(place / "spawner.py", f"{plan.spawner.read_text()}\n{STATEMENT}\n")
    gate = _new_file(place / "gate.yaml", yaml.safe_dump(written(gate_routes(plan))).replace(*COOKIE))
    edits: dict[str, dict[str, Any]] = {
        "a students' value": {"values": (*plan.values, cull)},
        "an authors' value": {"authoring_values": (*plan.authoring_values, cull)},
        "a spawner's line": {"spawner": spawner},
        "a gate's route": {"gate": gate},
    }
    for name, edit in edits.items():
        plan = dataclasses.replace(plan, **edit)
        yield name, plan
    with _longer(course_repositories(plan)[EXAMPLE.course] / "Dockerfile", "RUN true"):
        yield "a course's image", plan


def _check_change(plan: Plan) -> None:
    """Run the promises that an edit can touch, as a run on a kept copy does before all others."""
    selection = select_for_change(plan)
    if not selection.narrow:
        raise HarnessError(f"No drill changes {', '.join(selection.unknown or selection.places)}: it selects nothing")
    first, *more = (f"{SUITE}/{test}" for test in sorted(selection.tests))
    _tests(plan, first, *more)


def _new_file(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@contextmanager
def _longer(file: Path, line: str) -> Iterator[None]:
    """Add a line to a file of the checkout, and take it out again at the end."""
    before = file.read_text()
    file.write_text(f"{before}{line}\n")
    try:
        yield
    finally:
        file.write_text(before)


def _first_builds(plan: Plan) -> float:
    """Measure the seconds in which all artifacts are made where nothing is there: no image, and nothing in a cache.

    Raises:
        HarnessError: one cannot be made, or no second Docker starts beside this machine's, which takes root.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place, _second_docker(Path(place)) as host:
        empty = {name: f"{place}/{name}" for name in ("HARNESS_CACHE", "GOCACHE", "GOMODCACHE", "npm_config_cache")}
        asked = {"artifacts": plan.artifacts, "chart": plan.chart, "kubernetes": plan.kubernetes}
        options = [f"--{name}={value}" for name, value in asked.items()]
        options += [f"--mirror={upstream}={location}" for upstream, location in plan.mirrors.items()]
        command = [sys.executable, "-m", "harness", "build", *options]
        env = {"DOCKER_HOST": host, "GOFLAGS": "-modcacherw", **empty}
        return _timed(lambda: run(command, cwd=plan.checkout, env=env, timeout=BUILD_SECONDS, what="the first builds"))


@contextmanager
def _second_docker(place: Path) -> Iterator[str]:
    """Start a Docker of its own, which can build and not run, and yield its address."""
    host = f"unix://{place}/docker.sock"
    directories = [f"--{kind}-root={place}/{kind}" for kind in ("data", "exec")]
    # On the bridge that is there: with none it would remove the one of the machine's own Docker.
    no_rules = ("--iptables=false", "--ip6tables=false")
    command = ["dockerd", f"--host={host}", *directories, f"--pidfile={place}/pid", *no_rules]
    try:
        with (place / "dockerd.log").open("w") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
    except OSError as error:
        raise HarnessError(f"The first builds need a dockerd of their own: {error}") from error

    def answers() -> bool | NotYet:
        try:
            return bool(run(["docker", "--host", host, "info"], timeout=10))
        except CommandError as error:
            return NotYet(str(error).splitlines()[-1])

    def ended() -> str | None:
        return (
            f"dockerd has ended: {tail((place / 'dockerd.log').read_text(), 2)}" if daemon.poll() is not None else None
        )

    try:
        wait_until("a second Docker", answers, timeout=60, fail_if=ended)
        yield host
    finally:
        daemon.terminate()
        daemon.wait(60)
        # The namespace of builds on the machine's own network stays mounted, and its directory could not be removed.
        for left in (place / "exec/netns").glob("*"):
            run(["umount", left], timeout=10)


def _timed_after_stop(plan: Plan, which: str, steps: Steps) -> float:
    """Stop the containers of a kept copy, and measure the seconds of a run that says what became of it."""
    # Not --timeout, which older Dockers do not know.
    docker.docker("stop", "-t", "10", *docker.running(plan.name), timeout=120)
    started = time.monotonic()
    said = _tests(plan, which)
    seconds = time.monotonic() - started
    for line in said.splitlines():
        if line.startswith("kept:"):
            steps.say(line)
    return seconds


def _edited_spawner(plan: Plan) -> Path:
    """Write the spawner file with a comment added, the smallest edit that must reach the hub."""
    edited = plan.state / "edited_spawner.py"
    edited.write_text(plan.spawner.read_text() + f"\n# Edited {uuid.uuid4()}\n")
    return edited


def _spawn_seconds(hub: Hub, cluster: Cluster) -> float:
    """Measure the seconds from asking the hub's API for a server to its being ready."""
    user = f"bench-{uuid.uuid4().hex[:8]}"
    # A proxy may learn of a new hub a moment after it is ready.
    rollout.wait_for_answer(hub)
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


def _wait_for_pre_puller(running: Deployment) -> None:
    """Wait until the pre-puller has started its container for each course: they take time from what is measured."""
    where = ("--namespace", running.student.namespace, "--selector", PRE_PULLER)
    running.cluster.kubectl("rollout", "status", "daemonset", *where, timeout=PULL_SECONDS)


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
