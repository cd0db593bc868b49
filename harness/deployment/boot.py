"""The boot: everything a run builds, in the order it needs it."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.client import ApiException

from harness.artifacts import resolve as artifacts
from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage
from harness.base.digest import fingerprint
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.shell import kill_children
from harness.base.signals import uninterrupted
from harness.base.timeline import BOOT, Timeline, render
from harness.charts import manifests
from harness.charts.helm import Helm
from harness.cluster.kind import Cluster, check_port
from harness.courses.images import course_builder, course_repositories
from harness.deployment.model import Deployment, Prepared
from harness.deployment.releases import find_chart, read_secrets, release, surroundings, templates
from harness.deployment.rollout import wait_for_answer, wait_until_ready
from harness.deployment.state import STATE, State, changes, cluster_fingerprint, fingerprints, release_fingerprint
from harness.deployment.teardown import _undo
from harness.evidence import bundle
from harness.evidence import environment as health
from harness.evidence import store as evidence
from harness.evidence.diagnosis import says, why_unrecoverable
from harness.host import docker, runs
from harness.host import requirements as machine
from harness.host.identity import keep_identity
from harness.host.isolation import isolated
from harness.hub.api import Hub
from harness.plan.contract import COURSE_REPOSITORY, ECR
from harness.plan.hubs import HUBS, HubSpec
from harness.plan.plan import REGISTRIES, Plan
from harness.services.aws import Aws
from harness.services.postgres import Database
from harness.services.registry import Registry, split

CALLS = (httpx.HTTPError, urllib3.exceptions.HTTPError, BotoCoreError, ClientError)
"""What is raised beside ApiException by the libraries with which a boot talks to hubs, registry, cluster and moto."""


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
    machine.prepare(
        steps, building=how == "build", may_install=plan.may_install, cache=plan.cache, checkout=plan.checkout
    )
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
        EnvironmentFault, HarnessError: as `lay` and `install`, whose work is undone.
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
        EnvironmentFault: it failed because Docker, the disk or a container gave way.
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
    running: Deployment, steps: Steps, roles: Collection[HubSpec] = HUBS, timeline: Timeline | None = None
) -> str:
    """Bring hubs up on what was laid, or up to date; returns the version of the first one's JupyterHub.

    On a failure nothing is removed.

    Args:
        timeline: what is recorded meanwhile, for the evidence of a failure.

    Raises:
        EnvironmentFault: it failed because Docker, the disk or a container gave way.
        HarnessError: the cluster refuses a release, or a hub does not come up.
    """
    booting = _Boot(running.plan, steps, running, timeline)
    with booting.explained():
        return booting.install(running, roles)


@contextmanager
def only_run(plan: Plan) -> Iterator[None]:
    """Hold the checkout for one run at a time.

    Raises:
        HarnessError: another run of this checkout is under way.
    """
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with runs.held(plan.state, plan.name), isolated(health.parts(plan.name)):
        keep_identity(plan.checkout)
        yield


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
            EnvironmentFault: in place of an error that Docker, the disk or a container was the cause of.
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
                raise EnvironmentFault(f"{gave_way} The run ends, and is no verdict about the deployment.") from error
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
        wanted = cluster_fingerprint(plan, made)
        self.settled = True
        self.settle(known, cluster, wanted)
        secret = read_secrets(plan.secrets)
        database = Database.named(plan.name, secret["database"])
        releases = {role: release(plan, role, secret) for role in HUBS}
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
            for role in HUBS
        ]
        return Deployment(plan, made, source, helm, releases, objects, cluster, registry, aws, database, *hubs)

    def install(self, running: Deployment, roles: Collection[HubSpec]) -> str:
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
        rendered: Mapping[HubSpec, list[dict[str, Any]]],
        cluster: Cluster,
        known: State,
    ) -> None:
        """Bring up what stands beside the cluster, and fill the registry with what the releases will ask for."""
        steps = self.steps
        wanted = set().union(*(manifests.images(objects) for objects in rendered.values()))
        upstream = {name for name in wanted if not name.startswith(f"{ECR}/")}
        ours = {name: made.images[_repository(name)] for name in upstream if made.images and _known_to(made, name)}
        by_tag = self.course_layouts(
            made, sorted(name.removeprefix(f"{COURSE_REPOSITORY}:") for name in wanted - upstream)
        )
        versions = {version: by_tag[course.tag] for course in self.plan.courses for version in course.tags}
        images = {**ours, **{f"{COURSE_REPOSITORY}:{tag}": layout for tag, layout in {**by_tag, **versions}.items()}}
        if not known.get("services"):
            with steps.step("Postgres, moto and the private registry") as step:
                aws.start(made.moto)
                registry.start(made.registry, images)
                database.start(made.postgres, self.plan.state, tuple(role.database for role in HUBS))
                step.done("the registry opens to ECR's token alone")
            known.set("services", "started")
        mirrors = {host: place for host, place in self.plan.mirrors.items() if host in REGISTRIES}
        registry.resolve_in_nodes(cluster.certs, {ECR, *(split(name)[0] for name in ours)}, mirrors)
        wanted_fingerprint = fingerprints({f"image {name}": layout.digest for name, layout in images.items()})
        before = known.get("images")
        if before == wanted_fingerprint:
            return
        if before:
            steps.say(f"{'kept:':<11}images are pushed again, {changes(before, wanted_fingerprint)}")
        known.forget("images")
        with steps.step("images into the registry") as step:
            for name, layout in images.items():
                steps.go_on()
                _, repository, tag = split(name)
                registry.push(layout, repository, tag)
            step.done(f"{len(by_tag)} courses, and {len(ours)} of the chart's own")
        known.set("images", wanted_fingerprint)

    def course_layouts(self, made: Artifacts, tags: list[str]) -> dict[str, OciImage]:
        """The image of every course that the releases name, by tag."""
        with self.steps.step("course images") as step:
            repositories = course_repositories(self.plan)
            layouts = course_builder(self.plan, made).images(tags, repositories)
            own = [tag for tag in tags if tag in repositories]
            step.done(f"{len(tags)}, of which {' '.join(own) or 'none'} from a repository of its own")
        return layouts

    def install_release(self, role: HubSpec, running: Deployment, known: State) -> None:
        """Install a release or upgrade it, and wait until its pods are ready; nothing to do where nothing changed."""
        cluster, wanted = running.cluster, running.releases[role]
        wanted_fingerprint = release_fingerprint(running.chart, wanted)
        before = known.get(role.release)
        if before == wanted_fingerprint:
            return
        if before:
            self.steps.say(f"{'kept:':<11}release {role.release} is upgraded, {changes(before, wanted_fingerprint)}")
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
        known.set(role.release, wanted_fingerprint)

    def wait_for_hub(self, hub: Hub, cluster: Cluster) -> str:
        version = wait_for_answer(hub, lambda: why_unrecoverable(cluster, hub.namespace))
        self.steps.say(f"{hub.release + ':':<22}{hub.url}  (JupyterHub {version})")
        return version


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
