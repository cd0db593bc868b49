"""The private copy of the deployment: everything a run builds, in the order it needs it, and its removal."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import urllib3
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes import client
from kubernetes.client import ApiException

from harness.artifacts import resolve as artifacts
from harness.artifacts.model import Artifacts
from harness.artifacts.oci import Layout, LayoutStore
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError, kill_children
from harness.base.signals import uninterrupted
from harness.base.timeline import Timeline, render
from harness.base.wait import NotYet, TooLateError, pause, seldom, wait_until
from harness.charts import chart
from harness.charts.chart import Chart, Helm, Manifest, Release
from harness.cluster.cluster import Cluster, check_port, is_ready
from harness.courses import images as courses
from harness.courses.images import CourseBuilder
from harness.evidence import bundle
from harness.evidence import environment as health
from harness.evidence import store as evidence
from harness.evidence.diagnosis import hopeless, says
from harness.evidence.environment import GroundError
from harness.host import docker, runs
from harness.host import requirements as machine
from harness.host.runs import Run
from harness.hub.api import Hub
from harness.plan.hubs import AUTHORING, ROLES, SCALED, STUDENT, Role
from harness.plan.plan import REGISTRIES, Plan, fingerprint
from harness.plan.sources import ol_infrastructure
from harness.plan.sources.onboarding import pre_puller_with, spawner_with
from harness.report.outcomes import BOOT
from harness.services.aws import COURSES, ECR, Aws
from harness.services.postgres import Database
from harness.services.registry import Registry, split

CALLS = (httpx.HTTPError, urllib3.exceptions.HTTPError, BotoCoreError, ClientError)
"""What is raised beside ApiException by the libraries with which a boot talks to hubs, registry, cluster and moto."""
READY_TIMEOUT = 300.0
"""Seconds for a release's pods to be ready, images pulled and all."""
ANSWER_TIMEOUT = 60.0
"""Seconds for a proxy to learn of a hub that is ready."""
TEMPLATE = "pod-template-hash"
"""Label of a Deployment's pods, which tells those of one version of it from those of another."""
POD_GRACE = timedelta(seconds=15)
"""How long a Deployment may be refused its pods before there will be none."""
NAMED = 4
"""Changed inputs that a line names."""


@dataclass(frozen=True)
class Prepared:
    """What a copy of the deployment is made of; nothing of it runs.

    Attributes:
        kubernetes: the version of Kubernetes.
    """

    artifacts: Artifacts
    kubernetes: str
    helm: Helm
    chart: Chart

    def production(self, plan: Plan) -> dict[Role, list[Manifest]]:
        """The objects of the releases as production would have them: without what kind needs otherwise.

        Raises:
            HarnessError: the chart does not take the values.
        """
        return templates(self.helm, self.chart, productions(plan))


@dataclass(frozen=True)
class Deployment:
    """A copy of the deployment, and all of its parts.

    Attributes:
        objects: of each release, as they are rendered.
    """

    plan: Plan
    artifacts: Artifacts
    chart: Chart
    helm: Helm
    releases: Mapping[Role, Release]
    objects: Mapping[Role, list[Manifest]]
    cluster: Cluster
    registry: Registry
    aws: Aws
    database: Database
    student: Hub
    authoring: Hub

    def hub(self, role: Role) -> Hub:
        """The hub that a release is of."""
        return {STUDENT: self.student, AUTHORING: self.authoring}[role]

    @property
    def builder(self) -> CourseBuilder:
        """What builds course images."""
        return course_builder(self.plan, self.artifacts)

    def course_image(self, tag: str) -> Layout:
        """The image of a course, as it is built from its repository or from the base image."""
        return self.builder.images([tag], course_repositories(self.plan))[tag]

    @property
    def versions(self) -> dict[str, str]:
        """What the copy is made of, in words; what does not say its version is left out."""
        found = {"chart": f"{self.chart.version}, {self.chart.origin}", "spawner": self.plan.spawner.name}
        with contextlib.suppress(CommandError):
            told = json.loads(self.cluster.kubectl("version", "--output=json"))
            found["Kubernetes"] = told["serverVersion"]["gitVersion"]
        return found

    @property
    def unchecked(self) -> list[str]:
        """What nothing in this copy of the deployment can show, each with its reason."""
        reasons = [
            "the Keycloak gate in front of the hubs: it is not part of the copy",
            "a GPU at work: here it is a capacity patched onto a node",
            "Vault's new credentials for the database every few months: here they stay as they are",
        ]
        if self.artifacts.images:
            reasons.append("NetworkPolicies: the built node image's network does not enforce them")
            reasons += [
                f"course {course.tag} on {image}: no registry was in reach, and it was built on our notebook image"
                for course in self.plan.courses
                for image in courses.replaced_bases(course.path)
            ]
        if self.plan.ol_infrastructure:
            reasons.append("the values in the checkout's Pulumi code: but for its lists and files, our values are used")
        return reasons


def prepare(plan: Plan, steps: Steps) -> Prepared:
    """Make or get what the private copy is made of.

    Raises:
        HarnessError: something that the copy needs is missing or broken.
    """
    for line in plan.describe():
        steps.say(line)
    how, why = artifacts.choose(plan.artifacts, plan.mirrors)
    kubernetes = artifacts.kubernetes(how, plan.kubernetes)
    steps.say(f"{'using:':<11}{how}, Kubernetes {kubernetes}: {why}")
    machine.prepare(steps, building=how == "build", may_install=plan.may_install, cache=plan.cache)
    for line in runs.beside(plan.name):
        steps.say(f"{'beside:':<11}{line}")
    if not docker.running(plan.name):
        for port in filter(None, (plan.hub_port, plan.authoring_port)):
            check_port(port)
    machine.check_disk(machine.DISK_WARM, plan.cache)
    room = functools.partial(machine.check_disk, machine.DISK_COLD, plan.cache)
    made = artifacts.get(how, kubernetes, plan.cache, plan.mirrors, steps, room)
    helm = Helm(made.helm, plan.state / "kubeconfig", kubernetes)
    source = find_chart(plan, helm)
    steps.say(f"{'chart:':<11}{source.version}, {source.origin}")
    return Prepared(made, kubernetes, helm, source)


def boot(plan: Plan, steps: Steps, prepared: Prepared | None = None) -> Deployment:
    """Build the private copy, or what is left to do of it where one was kept; all of it answers then.

    Args:
        prepared: as `lay` takes it.

    Raises:
        GroundError, HarnessError: as `lay` and `install`, whose work is undone.
    """
    running = lay(plan, steps, prepared=prepared)
    try:
        install(running, steps)
    except BaseException:
        with uninterrupted(plan.name, steps.say):
            _undo(plan, steps)
        raise
    return running


def lay(
    plan: Plan, steps: Steps, *, prepared: Prepared | None = None, undo: Callable[[], None] | None = None
) -> Deployment:
    """Build all but the hubs: the cluster, the services beside it, and what the registry holds.

    What was kept is used again only if nothing that it was made of has changed. On any failure and on Ctrl-C
    everything is removed again, unless the plan says to keep it.

    Args:
        prepared: what it is made of, where that was prepared already.
        undo: called in place of the removal, by who wants to look at what is there first, and removes it later.

    Raises:
        GroundError: it failed because Docker, the disk or a container gave way.
        HarnessError: something that the copy needs is missing or broken.
    """
    booting = _Boot(plan, steps)
    evidence.clear(plan.evidence, BOOT)
    try:
        with booting.explained():
            return booting.lay(prepared or prepare(plan, steps))
    except BaseException:
        # Where nothing of this run is there yet, what an earlier one kept is not ours to remove.
        if booting.settled:
            with uninterrupted(plan.name, steps.say):
                (undo or (lambda: _undo(plan, steps)))()
        raise


def install(
    running: Deployment, steps: Steps, roles: Collection[Role] = ROLES, timeline: Timeline | None = None
) -> str:
    """Bring hubs up on what was laid, or up to date; returns the version of the first one's JupyterHub.

    On a failure nothing is removed.

    Args:
        timeline: what is recorded meanwhile, for the evidence of a failure.

    Raises:
        GroundError: it failed because Docker, the disk or a container gave way.
        HarnessError: the cluster refuses a release, or a hub does not come up.
    """
    booting = _Boot(running.plan, steps, running, timeline)
    with booting.explained():
        return booting.install(running, roles)


def _undo(plan: Plan, steps: Steps) -> None:
    if plan.keep:
        steps.say(f"Kept as it is, because of --keep-cluster: {plan.name}. 'tox -e down' removes it.")
    else:
        remove(plan, steps)


def remove(plan: Plan, steps: Steps) -> None:
    """Remove every trace of the plan's run from the machine; what is cached for later runs stays.

    Raises:
        HarnessError: Docker does not answer, or does not let something go; the message says what is left.
    """
    remove_run(plan.name, plan.state, steps)


def remove_run(name: str, state: Path | None, steps: Steps) -> None:
    """The same of any run, by its name and its directory; None where that is gone."""
    with uninterrupted(name, steps.say), steps.step("teardown", always=True) as step:
        if machine.daemon_answers():
            gone = docker.remove(name, name)
        elif state and (state / STATE).exists():
            raise HarnessError(
                f"The Docker daemon does not answer: the containers of {name} are left as they are. "
                f"Start it (systemctl start docker), then 'tox -e down' removes them."
            )
        else:
            gone = []
        step.done(f"removed {' '.join(gone)}" if gone else "nothing was there")
        for path in state.glob("*") if state else ():
            if path.name != runs.LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_left(found: Iterable[Run], steps: Steps) -> None:
    """Remove runs that nobody uses, those that were kept on purpose too.

    Raises:
        HarnessError: one is in use, or does not go.
    """
    for run in found:
        steps.say(str(run))
        with runs.held(run.directory, run.name) if run.directory else nullcontext():
            remove_run(run.name, run.directory, steps)


@contextmanager
def changed(running: Deployment, role: Role, release: Release) -> Iterator[None]:
    """Have a hub run another release while the block runs; its own is back at the end."""
    hub = running.hub(role)

    def install(wanted: Release) -> None:
        running.helm.upgrade_install(running.chart, wanted)
        wait_until_ready(running.cluster, role.namespace)
        wait_for_answer(hub, lambda: hopeless(running.cluster, role.namespace))

    # A run that is killed in between leaves what no later run may take for the hub's own.
    known = State(running.plan.state / STATE)
    known.forget(role.release)
    try:
        install(release)
        yield
    finally:
        install(running.releases[role])
        known.set(role.release, release_print(running.chart, running.releases[role]))


@contextmanager
def images_changed(plan: Plan) -> Iterator[None]:
    """Let the block change what the registry holds, and bring it back: no run takes what a killed one left for it."""
    known = State(plan.state / STATE)
    before = known.get("images")
    known.forget("images")
    yield
    if before:
        known.set("images", before)


@contextmanager
def only_run(plan: Plan) -> Iterator[None]:
    """Hold the checkout for one run at a time.

    Raises:
        HarnessError: another run of this checkout is under way.
    """
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with runs.held(plan.state, plan.name):
        yield


STATE = "state.json"


class _Boot:
    """The steps of one boot, in their order."""

    def __init__(
        self, plan: Plan, steps: Steps, running: Deployment | None = None, timeline: Timeline | None = None
    ) -> None:
        self.plan = plan
        self.steps = steps
        self.running = running
        self.timeline = timeline
        self.cluster = running.cluster if running else None
        """The cluster, once there are nodes of it."""
        self.laid = running is not None
        """Whether the cluster is made: one that is not has an API server only perhaps."""
        self.settled = running is not None
        """Whether what is on the machine under the plan's name is this run's."""
        self.began = time.time()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Have a failure leave its evidence while the corpses are still there, and tell it from ground that gave way.

        Raises:
            GroundError: in place of an error that Docker, the disk or a container was the cause of.
            HarnessError: in place of that of a call to the cluster, the registry or moto which came to nothing.
        """
        plan, steps = self.plan, self.steps
        try:
            with _calls_that_fail_are_told():
                yield
        except HarnessError as error:
            with uninterrupted(plan.name, steps.say):
                made = self.cluster if self.laid else None
                gave_way = health.fault(plan, made, whole=False) if self.settled else ""
                if self.cluster and not gave_way:
                    into = evidence.directory(plan.evidence, BOOT)
                    scene = bundle.Scene(plan, self.cluster, self.running)
                    happened = self.timeline.slice(self.began, time.time(), set()) if self.timeline else []
                    extra = {"timeline.txt": render(happened, self.began)} if happened else {}
                    cause = bundle.write_boot(scene, into, str(error), since=self.began, extra=extra)
                    if cause and not says(str(error), cause):
                        steps.say(f"Likely cause: {cause}")
                        error.add_note(cause)
                    steps.say(f"Logs, pods and events: {into}")
            if gave_way:
                raise GroundError(f"{gave_way} The run ends, and is no verdict about the deployment.") from error
            raise

    @contextmanager
    def side_by_side(self) -> Iterator[ThreadPoolExecutor]:
        """Two threads; where one thing fails, the other begins nothing more and is over before anything is removed."""
        with ThreadPoolExecutor(2) as side:
            try:
                yield side
            except BaseException:
                with uninterrupted(self.plan.name, self.steps.say):
                    self.steps.stop()
                    kill_children()
                    side.shutdown(cancel_futures=True)
                raise

    def lay(self, prepared: Prepared) -> Deployment:
        plan = self.plan
        made, helm, source = prepared.artifacts, prepared.helm, prepared.chart
        cluster = Cluster(plan.name, plan.state, kind=made.kind, kubectl=made.kubectl, image=made.node_image)
        aws = Aws.named(plan.name)
        registry = Registry.named(plan.name, plan.state, aws)
        known = State(plan.state / STATE)
        wanted = cluster_print(plan, made)
        self.settled = True
        self.settle(known, cluster, wanted)
        secret = read_secrets(plan.secrets)
        database = Database.named(plan.name, secret["database"])
        releases = {role: release(plan, role, secret) for role in ROLES}
        objects = templates(helm, source, releases)
        with self.side_by_side() as side:
            serving = side.submit(self.serve, made, registry, aws, database, objects, cluster, known)
            self.cluster = cluster
            if not known.get("cluster"):
                self.create_cluster(cluster)
                known.set("cluster", wanted)
            self.laid = True
            serving.result()
        hubs = [
            Hub(cluster.hub_url(role.node_port), role.namespace, role.release, role.database, secret[role.release])
            for role in ROLES
        ]
        return Deployment(plan, made, source, helm, releases, objects, cluster, registry, aws, database, *hubs)

    def install(self, running: Deployment, roles: Collection[Role]) -> str:
        known = State(self.plan.state / STATE)
        with self.side_by_side() as side:
            installing = [side.submit(self.install_release, role, running, known) for role in roles]
            for release in installing:
                release.result()
        hubs = [running.hub(role) for role in roles]
        first, *_ = [self.wait_for_hub(hub, running.cluster) for hub in hubs]
        return first

    def settle(self, known: State, cluster: Cluster, wanted: str) -> None:
        """Use a kept cluster again if it is whole and made of the same; remove anything else that is left."""
        lacking = sorted(health.parts(self.plan.name).keys() - docker.running(self.plan.name))
        if known.get("cluster") == wanted and not lacking and cluster.answers():
            self.steps.say(f"{'kept:':<11}cluster {self.plan.name} is used again, nothing it was made of has changed")
            return
        if kept := known.get("cluster"):
            broken = f"{' '.join(lacking)} not running" if lacking else "its API server does not answer"
            why = changes(kept, wanted) if kept != wanted else f"it is no longer whole: {broken}"
            self.steps.say(f"{'kept:':<11}cluster {self.plan.name} is made anew, {why}")
        docker.remove(self.plan.name, self.plan.name)
        known.clear()
        self.plan.secrets.unlink(missing_ok=True)
        docker.create_network(self.plan.name, self.plan.checkout, kept=self.plan.keep)

    def create_cluster(self, cluster: Cluster) -> None:
        with self.steps.step("kind cluster") as step:
            cluster.create(
                self.plan.checkout / "kind-config.yaml",
                hub_port=self.plan.hub_port,
                authoring_port=self.plan.authoring_port,
            )
            step.done("a control plane that takes pods, and a GPU worker")

    def serve(
        self,
        made: Artifacts,
        registry: Registry,
        aws: Aws,
        database: Database,
        manifests: Mapping[Role, list[dict[str, Any]]],
        cluster: Cluster,
        known: State,
    ) -> None:
        """Bring up what stands beside the cluster, and fill the registry with what the releases will ask for."""
        steps = self.steps
        wanted = set().union(*(chart.images(objects) for objects in manifests.values()))
        upstream = {name for name in wanted if not name.startswith(f"{ECR}/")}
        ours = {name: made.images[_repository(name)] for name in upstream if made.images and _known_to(made, name)}
        by_tag = self.course_layouts(made, sorted(name.removeprefix(f"{COURSES}:") for name in wanted - upstream))
        versions = {version: by_tag[course.tag] for course in self.plan.courses for version in course.tags}
        images = {**ours, **{f"{COURSES}:{tag}": layout for tag, layout in {**by_tag, **versions}.items()}}
        if not known.get("services"):
            with steps.step("Postgres, moto and the private registry") as step:
                aws.start(made.moto)
                registry.start(made.registry, images)
                database.start(made.postgres, self.plan.state, tuple(role.database for role in ROLES))
                step.done("the registry opens to ECR's token alone")
            known.set("services", "started")
        mirrors = {host: place for host, place in self.plan.mirrors.items() if host in REGISTRIES}
        registry.resolve_in_nodes(cluster.certs, {ECR, *(split(name)[0] for name in ours)}, mirrors)
        print_ = prints({f"image {name}": layout.digest for name, layout in images.items()})
        before = known.get("images")
        if before == print_:
            return
        if before:
            steps.say(f"{'kept:':<11}images are pushed again, {changes(before, print_)}")
        known.forget("images")
        with steps.step("images into the registry") as step:
            for name, layout in images.items():
                steps.go_on()
                _, repository, tag = split(name)
                registry.push(layout, repository, tag)
            step.done(f"{len(by_tag)} courses, and {len(ours)} of the chart's own")
        known.set("images", print_)

    def course_layouts(self, made: Artifacts, tags: list[str]) -> dict[str, Layout]:
        """The image of every course that the releases name, by tag."""
        with self.steps.step("course images") as step:
            repositories = course_repositories(self.plan)
            layouts = course_builder(self.plan, made).images(tags, repositories)
            own = [tag for tag in tags if tag in repositories]
            step.done(f"{len(tags)}, of which {' '.join(own) or 'none'} from a repository of its own")
        return layouts

    def install_release(self, role: Role, running: Deployment, known: State) -> None:
        """Install a release or upgrade it, and wait until its pods are ready; nothing to do where nothing changed."""
        cluster, wanted = running.cluster, running.releases[role]
        print_ = release_print(running.chart, wanted)
        before = known.get(role.release)
        if before == print_:
            return
        if before:
            self.steps.say(f"{'kept:':<11}release {role.release} is upgraded, {changes(before, print_)}")
        # What fails half-way is neither what it was nor what it was to be: the next run must not take it for either.
        known.forget(role.release)
        with self.steps.step(f"release {role.release}") as step:
            around = surroundings(running.objects[role], role, running.database)
            around_print = fingerprint([json.dumps(around)])
            if known.get(role.namespace) != around_print:
                cluster.apply(role.namespace, *around)
                known.set(role.namespace, around_print)
            running.helm.upgrade_install(running.chart, wanted)
            wait_until_ready(cluster, role.namespace)
            step.done("hub, proxy and scheduler ready")
        known.set(role.release, print_)

    def wait_for_hub(self, hub: Hub, cluster: Cluster) -> str:
        version = wait_for_answer(hub, lambda: hopeless(cluster, hub.namespace))
        self.steps.say(f"{hub.release + ':':<22}{hub.url}  (JupyterHub {version})")
        return version


def course_builder(plan: Plan, made: Artifacts) -> CourseBuilder:
    """What builds a plan's course images; without published images nothing else is published for it either."""
    return CourseBuilder(LayoutStore(plan.cache / "layouts"), made.notebook, offline=bool(made.images))


def course_repositories(plan: Plan) -> dict[str, Path]:
    """Course repositories by tag: those in courses/, and in their place those that the run was given."""
    given = {course.tag: course.path for course in plan.courses}
    return {**courses.repositories(plan.checkout / "courses"), **given}


class State:
    """What is known of a kept cluster: a small file that a killed run leaves as it was.

    Nothing of it is kept in memory: who writes one thing takes nothing back that another part of the run wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        return self._read().get(key)

    def set(self, key: str, value: str) -> None:
        with self._lock:
            self._write({**self._read(), key: value})

    def forget(self, key: str) -> None:
        with self._lock:
            self._write({name: value for name, value in self._read().items() if name != key})

    def clear(self) -> None:
        with self._lock:
            self._write({})

    def _read(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return known

    def _write(self, known: dict[str, str]) -> None:
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps(known, indent=1))
        scratch.replace(self._path)


def cluster_print(plan: Plan, made: Artifacts) -> str:
    """Fingerprints of what a cluster and the services beside it are made of; anything else can change under them."""
    return prints(
        {
            "kind-config.yaml": plan.checkout / "kind-config.yaml",
            "--hub-port": str(plan.hub_port),
            "--authoring-port": str(plan.authoring_port),
            "the node image": made.node_image,
            "the registry's image": made.registry,
            "moto's image": made.moto,
            "Postgres' image": made.postgres,
            # Under the same names, a node would keep those that it has.
            "an image of the chart": json.dumps(sorted(layout.digest for layout in made.images.values())),
            "--mirror": json.dumps(sorted(plan.mirrors.values())),
        }
    )


def release_print(source: Chart, release: Release) -> str:
    """Fingerprints of all that a release is made of."""
    parts: dict[str, str | Path] = {"the chart": source.path}
    for number, file in enumerate(release.values):
        # Two of them may have one name, and later wins.
        name = f"values {file.name}"
        parts[name if name not in parts else f"{name} ({number + 1})"] = file
    parts |= {f"spawner {file.name}": file for file in release.set_files.values()}
    parts |= {f"value {key}": json.dumps(value) for key, value in release.replaced.items()}
    return prints(parts)


def prints(parts: Mapping[str, str | Path]) -> str:
    """A fingerprint of each part by its name, as one text: two are equal where nothing changed."""
    return json.dumps({name: fingerprint([part]) for name, part in parts.items()}, sort_keys=True)


def changes(before: str, now: str) -> str:
    """What changed between two texts of `prints`, by name: "values kind.yaml and the chart have changed"."""
    try:
        old, new = json.loads(before), json.loads(now)
    except ValueError:  # written by an older harness
        return "what it is made of has changed"
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    shown = names if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
    return f"{' and '.join(shown)} {'has' if len(names) == 1 else 'have'} changed"


def read_secrets(file: Path) -> dict[str, str]:
    """Passwords and tokens, new for each cluster and kept with it."""
    if not file.exists():
        names = ("database", "admin_password", *(role.release for role in (*ROLES, SCALED)))
        scratch = file.with_suffix(".new")
        scratch.touch(0o600)
        scratch.write_text(json.dumps({name: secrets.token_hex(32) for name in names}))
        scratch.replace(file)
    found: dict[str, str] = json.loads(file.read_text())
    return found


def find_chart(plan: Plan, helm: Helm) -> Chart:
    """The chart that the plan asks for.

    Raises:
        HarnessError: it is not there; only 'auto' falls back, and only if the repository cannot be reached.
    """
    repository = plan.mirrors.get("charts", artifacts.chart_repository(plan.checkout))
    builtin = plan.checkout / "helm/jupyterhub"
    into = plan.cache / "charts"
    if plan.chart == "builtin":
        return chart.load_chart(builtin, scratch=plan.state, origin="the built-in chart")
    if plan.chart == "auto":
        try:
            return helm.pull(repository, pinned_chart(plan), into)
        except chart.ChartRepositoryError:
            origin = f"the built-in chart, because {repository} cannot be reached"
            return chart.load_chart(builtin, scratch=plan.state, origin=origin)
    if Path(plan.chart).is_absolute():
        return chart.load_chart(Path(plan.chart), scratch=plan.state / "chart")
    if plan.chart == "latest":
        return helm.pull(repository, helm.newest(repository), into)
    return helm.pull(repository, pinned_chart(plan) if plan.chart == "pinned" else plan.chart, into)


def pinned_chart(plan: Plan) -> str:
    """Version of the chart that 'auto' and 'pinned' ask the repository for."""
    theirs = plan.ol_infrastructure
    return theirs.chart_version if theirs else artifacts.pinned_chart(plan.checkout)


def replaced_values(plan: Plan, role: Role) -> dict[str, Any]:
    """Values of a release that the run's options put in place of those in files, by dotted key."""
    found: dict[str, Any] = {}
    if plan.ol_infrastructure:
        theirs = ol_infrastructure.authoring_values if role is AUTHORING else ol_infrastructure.values
        found |= theirs(plan.ol_infrastructure)
    if role is not AUTHORING:
        found |= pre_puller_with(course.tag for course in plan.courses)
    return found


def spawner_of(plan: Plan) -> Path:
    """The spawner file of a run: the plan's, which knows the courses that the run was given too."""
    if not plan.courses:
        return plan.spawner
    extended = plan.state / "spawner.py"
    extended.write_text(spawner_with(plan.spawner, {course.tag: course.needs_gpu for course in plan.courses}))
    return extended


def templates(helm: Helm, source: Chart, releases: Mapping[Role, Release]) -> dict[Role, list[Manifest]]:
    """The objects of several releases, side by side.

    Raises:
        HarnessError: the chart does not take the values.
    """
    with ThreadPoolExecutor() as side:
        rendered = side.map(functools.partial(helm.template, source), releases.values())
        return dict(zip(releases, rendered, strict=True))


def production(plan: Plan, role: Role) -> Release:
    """A release as production would have it."""
    return Release(
        name=role.release,
        namespace=role.namespace,
        values=plan.authoring_values if role is AUTHORING else plan.values,
        set_files={chart.SPAWNER_KEY: spawner_of(plan)},
        replaced=replaced_values(plan, role),
    )


def productions(plan: Plan) -> dict[Role, Release]:
    """Both releases as production would have them."""
    return {role: production(plan, role) for role in ROLES}


def release(plan: Plan, role: Role, secret: Mapping[str, str]) -> Release:
    """A release of the deployment: as in production, with what kind needs otherwise, and what this run decides."""
    own = production(plan, role)
    run_values = plan.state / f"{role.release}.yaml"
    run_values.write_text(yaml.safe_dump(_run_values(role, secret)))
    run_values.chmod(0o600)
    return dataclasses.replace(own, values=(*own.values, plan.checkout / "helm/values/kind.yaml", run_values))


def _run_values(role: Role, secret: Mapping[str, str]) -> dict[str, Any]:
    """Values that this run decides: the NodePort that kind publishes, and who the harness is."""
    hub: dict[str, Any] = {
        "services": {"harness": {"apiToken": secret[role.release]}},
        "loadRoles": {"harness": {"services": ["harness"], "scopes": HARNESS_SCOPES}},
    }
    if role is AUTHORING:
        hub["config"] = {"SharedPasswordAuthenticator": {"admin_password": secret["admin_password"]}}
    service = {"type": "NodePort", "nodePorts": {"http": role.node_port}}
    return {"hub": hub, "proxy": {"service": service}}


HARNESS_SCOPES = ["admin:users", "admin:servers", "tokens", "proxy", "read:hub", "read:metrics", "list:services"]


def surroundings(objects: list[dict[str, Any]], role: Role, database: Database) -> list[dict[str, Any]]:
    """What production makes beside the chart and its values take for granted: the database's address, an account.

    Their names are taken from the rendered values, so that somebody's own values find theirs.
    """
    values = chart.hub_values(objects)
    made: list[dict[str, Any]] = []
    source = chart.variables(values.get("hub", {})).get("DATABASE_URL")
    if isinstance(source, dict) and (ref := source.get("valueFrom", {}).get("secretKeyRef")):
        data = {ref["key"]: database.url(role.database)}
        made.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": ref["name"]}, "stringData": data})
    if account := values.get("singleuser", {}).get("serviceAccountName"):
        made.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    return made


def wait_until_ready(cluster: Cluster, namespace: str) -> None:
    """Wait until every Deployment of a release has rolled out.

    Raises:
        NeverError: a pod of theirs cannot come up; the message has the cause, a crashed hub's traceback included.
        TooLateError: they did not in time; the message has the newest warning about a pod.
    """
    pods = cluster.pods(namespace)
    there: list[client.V1Pod] = []
    deployments: list[client.V1Deployment] = []

    def ready() -> bool | NotYet:
        nonlocal there, deployments
        there = [pod for pod in pods.look() if TEMPLATE in (pod.metadata.labels or {})]
        deployments = cluster.apps.list_namespaced_deployment(namespace).items
        waiting = [
            f"{it.metadata.name} {it.status.updated_replicas or 0}/{it.spec.replicas} updated, "
            f"{it.status.available_replicas or 0} available"
            for it in deployments
            if not _rolled_out(it)
        ]
        return NotYet("; ".join(waiting)) if waiting else True

    def stuck() -> str | None:
        why = pods.why_stuck(there)
        if why:
            # Of an upgrade, the new pods alone: the old ones may be crashing still, which is why there is an upgrade.
            newest = _newest_templates(cluster, namespace, deployments)
            why = pods.why_stuck([pod for pod in there if pod.metadata.labels[TEMPLATE] in newest])
        return why or _why_no_pod(deployments)

    def change(seconds: float) -> None:
        # A Deployment knows of its last pod a moment after the pod itself, when no other pod changes any more.
        if there and all(map(is_ready, there)):
            pause(seconds)
        else:
            pods.change(seconds)

    try:
        wait_until(f"the pods of {namespace}", ready, timeout=READY_TIMEOUT, fail_if=stuck, change=change)
    except TooLateError as error:
        raise TooLateError("; ".join([str(error), *pods.last_warning()])) from error


def restart_hub(cluster: Cluster, hub: Hub) -> None:
    """Replace the pod of a hub, and return when the new one answers through the proxy.

    Raises:
        NeverError: the new pod cannot come up.
    """
    cluster.restart(hub.namespace, "hub")
    wait_until_ready(cluster, hub.namespace)
    wait_for_answer(hub, lambda: hopeless(cluster, hub.namespace))


def wait_for_answer(hub: Hub, fail_if: Callable[[], str | None] = lambda: None) -> str:
    """Wait until a hub answers through its proxy, which may learn of a new hub a moment later; returns its version.

    Args:
        fail_if: says why it never will.
    """

    def version() -> str | NotYet:
        try:
            return hub.version()
        except httpx.HTTPStatusError as error:
            answer = error.response
            who = answer.headers.get("server", "unknown")
            return NotYet(f"{answer.status_code} {answer.reason_phrase}, server {who}: {answer.text[:200]}")
        except httpx.HTTPError as error:
            return NotYet(str(error) or type(error).__name__)

    what = f"an answer of {hub.release} through its proxy"
    return wait_until(what, version, timeout=ANSWER_TIMEOUT, fail_if=seldom(fail_if))


def _newest_templates(cluster: Cluster, namespace: str, deployments: Iterable[Any]) -> set[str]:
    """Label TEMPLATE of each Deployment's newest pods."""
    revision = "deployment.kubernetes.io/revision"
    wanted = {
        (it.metadata.name, it.metadata.annotations.get(revision))
        for it in deployments
        # One that its controller has not looked at yet still carries the revision before.
        if (it.status.observed_generation or 0) >= it.metadata.generation
    }
    return {
        it.metadata.labels[TEMPLATE]
        for it in cluster.apps.list_namespaced_replica_set(namespace).items
        if it.spec.replicas and (it.metadata.owner_references[0].name, it.metadata.annotations.get(revision)) in wanted
    }


def _why_no_pod(deployments: Iterable[Any]) -> str | None:
    """Why a Deployment gets no pod at all, in the words of Kubernetes; None while it may get one yet."""
    for it in deployments:
        for condition in it.status.conditions or []:
            failed = condition.type == "ReplicaFailure" and condition.status == "True"
            # The account of a new namespace comes a moment after it.
            if failed and datetime.now(UTC) - condition.last_transition_time > POD_GRACE:
                return f"{it.metadata.name} gets no pod, {condition.reason}: {condition.message}"
    return None


def _rolled_out(deployment: Any) -> bool:
    status, wanted = deployment.status, deployment.spec.replicas
    seen = (status.observed_generation or 0) >= deployment.metadata.generation
    counts = (status.updated_replicas, status.replicas, status.available_replicas)
    return seen and all((count or 0) == wanted for count in counts)


@contextmanager
def _calls_that_fail_are_told() -> Iterator[None]:
    try:
        yield
    except HarnessError:
        # One of the cluster's is an error of urllib3 too, and says already which call it was.
        raise
    except ApiException as error:
        raise HarnessError(f"The cluster's API server refused a call: {error.status} {_words(error)}") from error
    except CALLS as error:
        said = " ".join(str(error).split()) or "it gives no reason"
        raise HarnessError(f"A call of the boot failed, {type(error).__name__}: {said}") from error


def _words(refusal: ApiException) -> str:
    """What the API server says of a refusal (metav1.Status, its message), or else HTTP's word for it."""
    try:
        return str(json.loads(refusal.body or "")["message"])
    except (ValueError, LookupError, TypeError):
        return str(refusal.reason)


def _repository(image: str) -> str:
    return image.rpartition(":")[0]


def _known_to(made: Artifacts, image: str) -> bool:
    if _repository(image) not in made.images:
        known = ", ".join(made.images)
        raise HarnessError(f"The chart runs {image}, which --artifacts build does not make (it makes {known})")
    return True
