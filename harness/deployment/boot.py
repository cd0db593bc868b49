"""The boot: everything a run builds, step by step, in the order it needs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from harness.artifacts import resolve as artifacts
from harness.base.progress import Steps
from harness.base.timeline import BOOT, Timeline
from harness.charts.helm import Helm
from harness.cluster.kind import Cluster, check_port
from harness.deployment.context import BootContext
from harness.deployment.failure import faults_named, side_by_side, undone_on_failure, with_evidence
from harness.deployment.gate import remove_gate
from harness.deployment.hubs import install_release, remove_renamed, remove_users, wait_for_hub
from harness.deployment.images import make_images, push_images
from harness.deployment.infrastructure import create_cluster, let_pre_pullers_run, reuse_or_reset, start_services
from harness.deployment.inputs import read_inputs
from harness.deployment.model import Deployment, Prepared
from harness.deployment.monitoring import build_monitoring, remove_monitoring
from harness.deployment.network_policies import remove_network_policies
from harness.deployment.releases import (
    create_secrets,
    find_chart,
    read_secrets,
    release,
    templates,
    write_run_values,
    write_spawner,
)
from harness.deployment.scaling import describe_scaling
from harness.deployment.state import STATE, State, cluster_fingerprint
from harness.evidence import environment
from harness.evidence import store as evidence
from harness.host import docker, runs
from harness.host import requirements as machine
from harness.host.identity import keep_identity
from harness.host.isolation import isolated
from harness.hub.api import Hub
from harness.monitoring.addon import ADDONS
from harness.plan.hubs import HUBS, HubSpec
from harness.plan.plan import Plan
from harness.services import catalogue
from harness.services.container import Services
from harness.services.registry import Registry


def prepare(plan: Plan, steps: Steps) -> Prepared:
    """Make or get what the private copy is made of.

    Raises:
        EnvironmentFault: Docker or the disk failed, or this machine cannot run it.
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
    with faults_named(plan):
        return _prepare_artifacts(plan, steps, how, kubernetes)


def _prepare_artifacts(plan: Plan, steps: Steps, how: str, kubernetes: str) -> Prepared:
    for line in runs.beside(plan.name):
        steps.say(f"{'beside:':<11}{line}")
    if not docker.running(plan.name):
        for port in filter(None, (plan.hub_port, plan.authoring_port)):
            check_port(port)
    machine.check_disk(machine.DISK_WARM, plan.cache)
    room = functools.partial(machine.check_disk, machine.DISK_COLD, plan.cache)
    services = [service.NAME for service in catalogue.always()]
    addons = ADDONS if plan.monitored else ()
    made = artifacts.get(how, kubernetes, services, plan.cache, plan.mirrors, steps, room, addons=addons)
    if plan.monitored:
        build_monitoring(how, plan.cache, steps)
    helm = Helm(made.helm, plan.state / "kubeconfig", kubernetes)
    chart = find_chart(plan, helm)
    steps.say(f"{'chart:':<11}{chart.version}, {chart.origin}")
    steps.say(f"{'scaled:':<11}{describe_scaling(plan.values, plan.authoring_values)}")
    write_spawner(plan)
    return Prepared(made, kubernetes, helm, chart)


def boot(plan: Plan, steps: Steps, prepared: Prepared | None = None) -> Deployment:
    """Build the private copy, or the rest of one that was kept; returns it when both hubs answer.

    Args:
        prepared: as `boot_infrastructure` takes it.

    Raises:
        EnvironmentFault, HarnessError: as `boot_infrastructure` and `install_hubs`, whose work is undone.
    """
    running = boot_infrastructure(plan, steps, prepared=prepared)
    with undone_on_failure(plan, steps):
        install_hubs(running, steps)
    return running


def boot_infrastructure(
    plan: Plan, steps: Steps, *, prepared: Prepared | None = None, undo: Callable[[], None] | None = None
) -> Deployment:
    """Build all but the hubs: the cluster, the services beside it, and the images in the registry.

    What was kept is used again only if nothing that it was made of has changed. On any failure and on Ctrl-C
    everything is removed again, unless the plan keeps it. A failure before anything is built does not touch what
    an earlier run kept.

    Args:
        prepared: the parts that it is made of, where they are prepared already.
        undo: called in place of the removal, by a caller that removes it later.

    Raises:
        EnvironmentFault: Docker, the disk or a container failed, or the built-in chart does not know a value.
        HarnessError: something that the copy needs is missing or broken.
    """
    evidence.clear(plan.evidence, BOOT)
    prepared = prepared or prepare(plan, steps)
    made = prepared.artifacts
    cluster = Cluster(
        plan.name,
        plan.state,
        kind=made.kind,
        kubectl=made.kubectl,
        image=made.node_image,
        store=made.node_store,
    )
    made_of = cluster_fingerprint(plan, made)
    context = BootContext(plan, steps, cluster, State(plan.state / STATE))
    with undone_on_failure(plan, steps, undo), with_evidence(context):
        reuse_or_reset(context, made_of)
        create_secrets(plan.secrets)
        secrets = read_secrets(plan.secrets)
        # Between two boots on one preparation, a drill's run may have written another.
        write_spawner(plan)
        for spec in plan.hubs:
            write_run_values(plan, spec, secrets)
        services = Services(catalogue.SERVICES, plan.name, plan.state, secrets)
        releases = {spec: release(plan, spec) for spec in plan.hubs}
        objects = templates(prepared.helm, prepared.chart, releases)

        def serve() -> None:
            values = [(prepared.chart.path / "values.yaml", *each.values) for each in releases.values()]
            images = make_images(context, made, objects.values(), values=values)
            start_services(context, made, services, images)
            push_images(context, services[Registry], images)

        with side_by_side(plan.name, steps) as pool:
            serving = pool.submit(serve)
            create_cluster(context, made_of)
            serving.result()
        if not plan.monitored:
            remove_monitoring(context)
        remove_gate(context)
        remove_network_policies(context)
        hubs = [
            Hub(cluster.hub_url(spec.node_port), spec.namespace, spec.release, spec.database, secrets[spec.name])
            for spec in plan.hubs
        ]
    return Deployment(plan, made, prepared.chart, prepared.helm, releases, objects, cluster, services, *hubs)


def install_hubs(
    running: Deployment,
    steps: Steps,
    hub_specs: Collection[HubSpec] = HUBS,
    timeline: Timeline | None = None,
    *,
    clear: bool = False,
) -> str:
    """Install or upgrade hubs, and wait until they answer; returns the version of the first one's JupyterHub.

    On a failure nothing is removed.

    Args:
        timeline: the record of what happens meanwhile, for the evidence of a failure.
        clear: remove the users whom an earlier run left on these hubs.

    Raises:
        EnvironmentFault: Docker, the disk or a container failed.
        HarnessError: the cluster refuses a release, or a hub does not come up.
    """
    plan = running.plan
    context = BootContext(plan, steps, running.cluster, State(plan.state / STATE), running, timeline)
    context.nodes_exist = context.cluster_ready = True
    wanted = [plan.hub(spec) for spec in hub_specs]
    with with_evidence(context):
        remove_renamed(context, running)
        with side_by_side(plan.name, steps) as pool:
            for installing in [pool.submit(install_release, context, running, spec) for spec in wanted]:
                installing.result()
        hubs = [running.hub(spec) for spec in wanted]
        version, *_ = [wait_for_hub(context, hub) for hub in hubs]
        let_pre_pullers_run(context)
        if clear:
            for hub in hubs:
                remove_users(context, hub)
    read_inputs(plan).write(plan.state)
    return version


@contextmanager
def only_run(plan: Plan) -> Iterator[None]:
    """Hold the checkout for one run at a time.

    Raises:
        HarnessError: another run of this checkout is under way.
    """
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with runs.held(plan.state, plan.name), isolated(environment.parts(plan.name)):
        keep_identity(plan.checkout)
        yield
