"""The bundle: the state of the whole deployment at a failure, read before anything is torn down.

Each source is bounded, and all of them are read side by side within LIMIT; a source that cannot be read leaves the
reason in its place. index.txt has the failure, and a line on each file.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import httpx
import yaml

from harness.base.shell import CommandError
from harness.charts.chart import Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest, hub_values
from harness.cluster.kind import Cluster
from harness.evidence.diagnosis import likely_cause
from harness.evidence.redaction import redact, scrub
from harness.evidence.store import keep, secrets
from harness.host import docker
from harness.hub.api import Hub
from harness.monitoring.client import Monitoring
from harness.monitoring.graphs import describe, graphs
from harness.people.browser import Browser
from harness.plan.hubs import SCALED, HubSpec
from harness.plan.plan import Plan
from harness.services import catalogue
from harness.services.postgres import Postgres

LIMIT = 10.0
"""Seconds for everything."""
LOOK_TIMEOUT = 8.0
"""Seconds for one call."""
EXPORT_TIMEOUT = 30.0
"""Seconds for what a node itself logged, on a failed boot."""
AT_ONCE = 4
LINES, LARGEST = 500, 200_000
"""Lines and characters that are kept of a log, its last ones."""
INDEX, LOGS = "index.txt", "logs"
LOGS_ARE = "its containers' logs, with times, in logs/; -before is that before the last restart"
ABOUT = {
    "failure.txt": "the failure, in full",
    "timeline.txt": "what happened, in its order",
    "journeys.har": "the requests of the test's people, for a browser's developer tools",
}
POD_LOGS = "/var/log/pods"
"""Where a node has its pods' logs: NAMESPACE_POD_UID/CONTAINER/RESTARTS.log (kubelet, pkg/kubelet/kuberuntime)."""
NODE_LOGS = ("journal.log", "kubelet.log", "containerd.log")
"""The useful files of those that kind exports of a node; the bundle has some of the others already."""
ROWS = 200
MINUTES_BEFORE = 60.0
"""Seconds before a test of which its metrics are kept too."""
TABLES = {
    "users": "id, name, admin, created, last_activity",
    "spawners": "id, user_id, server_id, name, started, last_activity, user_options",
    "servers": "id, proto, ip, port, base_url",
}
"""Tables of a hub, with their columns; none that has a token, a cookie or a state, which may have both."""

# Written in C where it is there, as harness/charts/chart.py reads.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Content = str | bytes | Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """One source of evidence.

    Attributes:
        name: its file in the bundle; if there are several files, `read` names them, and this one is for an error.
        about: a description for the index.
    """

    name: str
    about: str
    read: Callable[[], Content]


class Running(Protocol):
    """The parts of a running copy that its hubs' evidence is read from."""

    @property
    def helm(self) -> Helm: ...
    @property
    def chart(self) -> Chart: ...
    @property
    def releases(self) -> Mapping[HubSpec, Release]: ...
    @property
    def objects(self) -> Mapping[HubSpec, list[Manifest]]: ...
    @property
    def database(self) -> Postgres: ...
    @property
    def student(self) -> Hub: ...
    @property
    def authoring(self) -> Hub: ...


@dataclass(frozen=True)
class Scene:
    """The parts that a bundle is read from; the cluster alone where a boot failed before its hubs came.

    Attributes:
        beside: hubs that a test has for itself.
        monitoring: where the run has it.
    """

    plan: Plan
    cluster: Cluster
    running: Running | None = None
    beside: tuple[Hub, ...] = ()
    monitoring: Monitoring | None = None

    def sources(self, since: float) -> list[Source]:
        """Return all sources.

        Args:
            since: when the test began, as time.time().
        """
        found = [
            Source("pods.txt", "all pods, and where they run", self._get("pods", "--output=wide")),
            Source("pods.yaml", "their specs and statuses", self._get("pods", "--output=yaml")),
            Source("events.txt", "events of Kubernetes, newest last", self._get("events", "--sort-by=.lastTimestamp")),
            Source("nodes.yaml", "the nodes' conditions and images", self._get("nodes", "--output=yaml")),
            Source("containers.txt", "nodes and services, as Docker sees them", self._containers),
            *(Source(f"{LOGS}/{node}", LOGS_ARE, functools.partial(pod_logs, node)) for node in self.cluster.nodes),
            Source(f"{LOGS}/services", "logs of what stands beside the cluster", self._services),
        ]
        if self.running:
            found += [
                Source("hubs.json", "the hubs' users and servers, and their proxies' routes", self._hubs),
                Source("tables.txt", "users, spawners and servers in Postgres", self._tables),
                Source(
                    "values.diff",
                    "differences between the releases' values and production's; all values: values.yaml",
                    self._values,
                ),
            ]
        if monitoring := self.monitoring:
            namespaces = "|".join(spec.namespace for spec in (*self.plan.hubs, SCALED))
            read = functools.partial(_metrics, monitoring, since, namespaces)
            found.append(Source("metrics.txt", "the panels in the test's minutes; all points: metrics.json", read))
        return found

    @functools.cached_property
    def rendered(self) -> dict[str, tuple[str, str]]:
        """Return values in YAML by release, in production and here; they are the same for a whole run."""
        if not self.running:
            return {}
        running = self.running

        def values(objects: Iterable[Manifest]) -> str:
            return yaml.dump(scrub(hub_values(objects)), Dumper=_Dumper, allow_unicode=True)

        def production(spec: HubSpec, here: Release) -> str:
            # Without the values for kind and for this run.
            there = dataclasses.replace(here, values=self.plan.values_of(spec))
            return values(running.helm.template(running.chart, there))

        return {
            here.name: (production(spec, here), values(running.objects[spec]))
            for spec, here in running.releases.items()
        }

    def _get(self, *args: str) -> Callable[[], str]:
        return lambda: self.cluster.kubectl("get", *args, "--all-namespaces", timeout=LOOK_TIMEOUT)

    def _containers(self) -> str:
        return docker.docker("ps", "--all", "--filter", f"name=^/?{self.plan.name}-", timeout=LOOK_TIMEOUT)

    def _services(self) -> dict[str, str]:
        return {f"{LOGS}/{part}.log": docker.logs(f"{self.plan.name}-{part}", LINES) for part in catalogue.names()}

    def _all_hubs(self) -> tuple[Hub, ...]:
        return (self.running.student, self.running.authoring, *self.beside) if self.running else ()

    def _hubs(self) -> str:
        found = {hub.release: {"users": _users(hub), "routes": _ask(hub, "/proxy")} for hub in self._all_hubs()}
        return json.dumps(found, indent=1)

    def _tables(self) -> str:
        if not self.running:
            return ""
        queries = [f"SELECT {columns} FROM {table} ORDER BY id DESC LIMIT {ROWS}" for table, columns in TABLES.items()]
        tables = functools.partial(self.running.database.tables, timeout=LOOK_TIMEOUT)
        return "\n\n".join(f"{hub.release}\n{tables(hub.database, *queries)}" for hub in self._all_hubs())

    def _values(self) -> dict[str, str]:
        differing = [
            line
            for name, (there, here) in self.rendered.items()
            for line in difflib.unified_diff(
                there.splitlines(keepends=True), here.splitlines(keepends=True), f"{name} in production", f"{name} here"
            )
        ]
        everything = "".join(f"---\n# {name}\n{here}" for name, (_, here) in self.rendered.items())
        return {"values.yaml": everything, "values.diff": "".join(differing)}


def write(
    scene: Scene,
    into: Path,
    failure: str,
    *,
    since: float,
    users: Collection[str] = (),
    extra: Mapping[str, str] | None = None,
    browser: Browser | None = None,
) -> str | None:
    """Write the bundle of a failure, without secrets, within about LIMIT seconds; return the likely cause, if any.

    Args:
        into: its directory.
        failure: its first line goes into the index, all of it into failure.txt.
        since: when the test began, as time.time().
        users: names of the test's users, as far as they are known.
        extra: further files of the test itself, as text by name.
        browser: a window that the test had open.
    """
    given = {"failure.txt": failure, **(extra or {})}
    for name, text in given.items():
        keep(scene.plan, into / name, text)
    services = [service.NAME for service in catalogue.always()] if scene.running else []
    # A page first, as long as it shows what the test saw.
    sources = [*(_of_browser(browser) if browser else ()), *scene.sources(since)]
    end = time.monotonic() + LIMIT
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        looking = pool.submit(
            likely_cause, scene.cluster, scene.plan.namespaces, since=since, users=users, services=services
        )
        reading = [(source, pool.submit(source.read)) for source in sources]
        about = [f"{name:<17} {ABOUT.get(name, 'of the test itself')}" for name in given]
        about += [_put(scene.plan, into, source, _outcome(future, end)) for source, future in reading]
        cause = _outcome(looking, end)
    finally:
        # A call that hangs has a limit of its own, and is not waited for.
        pool.shutdown(wait=False, cancel_futures=True)
    headline = next(iter(failure.splitlines()), "")
    index = [headline, f"Likely cause: {cause or 'none is named'}", "", *about]
    keep(scene.plan, into / INDEX, "\n".join(index) + "\n")
    # It goes into reports, too.
    return redact(cause, secrets(scene.plan)) if cause and not isinstance(cause, Missing) else None


def write_boot(
    scene: Scene, into: Path, failure: str, *, since: float, extra: Mapping[str, str] | None = None
) -> str | None:
    """Write the bundle of a boot that failed, with the nodes' own logs; return the likely cause, if any.

    Args:
        since, extra: as `write` takes them.
    """
    cause = write(scene, into, failure, since=since, extra=extra)
    for name, text in node_logs(scene.cluster).items():
        keep(scene.plan, into / "nodes" / name, text)
    with (into / INDEX).open("a") as index:
        index.write(f"{'nodes/':<17} logs of the nodes themselves, from kind export logs\n")
    return cause


def pod_logs(node: str) -> dict[str, str]:
    """Read the logs of all containers on a node, current and previous, by name of a file; each line has its time.

    They come from the node itself, in one call, which needs no API server.
    """
    look = f"cd {POD_LOGS} && {{ tail --lines={LINES} --verbose */*/*.log 2>/dev/null; true; }}"
    logs = docker.docker("exec", node, "sh", "-c", look, timeout=LOOK_TIMEOUT)
    parts = re.split(r"^==> (\S+)/(\d+)\.log <==\n?", logs, flags=re.MULTILINE)[1:]
    lives: dict[str, dict[int, str]] = {}
    for place, restarts, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        lives.setdefault(place, {})[int(restarts)] = text
    found = {}
    for place, texts in lives.items():
        pod, _, container = place.partition("/")
        namespace, name, *_ = pod.split("_")
        # The pre-puller's containers log nothing but that they are done.
        if container.startswith("image-pull-"):
            continue
        for restarts, text in texts.items():
            which = "" if restarts == max(texts) else "-before"
            found[f"{LOGS}/{namespace}.{name}.{container}{which}.log"] = text[-LARGEST:]
    return found


def node_logs(cluster: Cluster) -> dict[str, str]:
    """Read the nodes' own logs, as kind exports them, by name of a file; missing.txt has why some are missing."""
    found: dict[str, str] = {}
    with TemporaryDirectory(prefix="harness-nodes-") as scratch:
        try:
            cluster.export_logs(Path(scratch), EXPORT_TIMEOUT)
        except CommandError as error:
            found["missing.txt"] = f"{error}\n"
        for node in cluster.nodes:
            for name in NODE_LOGS:
                if (file := Path(scratch, node, name)).is_file():
                    found[f"{node}.{name}"] = file.read_text(errors="replace")[-LARGEST:]
    return found


class Missing(str):
    """The reason why something cannot be read."""


def _outcome(future: Future[Any], end: float) -> Any:
    """Return the result of a call, or the reason why it has none."""
    try:
        # A source that fails in any way leaves the other sources in the bundle.
        error = future.exception(max(0.0, end - time.monotonic()))
    except TimeoutError:
        return Missing(f"cannot be read within {LIMIT:.0f} s")
    return Missing(f"cannot be read: {str(error) or type(error).__name__}") if error else future.result()


def _put(plan: Plan, into: Path, source: Source, content: Content) -> str:
    """Write the file or the files of a source, and return its line of the index."""
    if isinstance(content, Missing):
        name = str(Path(source.name).with_suffix(".txt"))
        keep(plan, into / name, f"{content}\n")
        return f"{name:<17} {source.about}: {content.splitlines()[0]}"
    if isinstance(content, Mapping):
        for name, text in content.items():
            if text.strip():
                keep(plan, into / name, text)
    elif isinstance(content, bytes):
        (into / source.name).write_bytes(content)
    else:
        keep(plan, into / source.name, content)
    return f"{source.name:<17} {source.about}"


def _metrics(monitoring: Monitoring, since: float, namespaces: str) -> dict[str, str]:
    """Return what the panels showed since a moment before the test, in words and as data."""
    found = graphs(monitoring, since - MINUTES_BEFORE, time.time(), namespaces=namespaces)
    return {"metrics.txt": describe(found), "metrics.json": json.dumps([dataclasses.asdict(each) for each in found])}


def _of_browser(browser: Browser) -> list[Source]:
    return [
        Source("screen.png", "the page on screen", browser.driver.get_screenshot_as_png),
        Source("page.html", "its source", lambda: browser.driver.page_source),
    ]


def _users(hub: Hub) -> Any:
    """Return a hub's users and their servers, without the fields that may have secrets of any name."""
    users = _ask(hub, "/users")
    if isinstance(users, Missing):
        return users
    for user in users:
        user.pop("auth_state", None)
        for server in user.get("servers", {}).values():
            server.pop("state", None)
    return users


def _ask(hub: Hub, path: str) -> Any:
    try:
        return scrub(hub.api.get(path, timeout=LOOK_TIMEOUT).raise_for_status().json())
    except (httpx.HTTPError, ValueError) as error:
        return Missing(f"cannot be read: {str(error) or type(error).__name__}")
