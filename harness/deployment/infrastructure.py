"""The steps that bring up all but the hubs: the cluster, and the services beside it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from kubernetes.client.exceptions import ApiException

from harness.artifacts.model import Artifacts
from harness.base.shell import CommandError
from harness.base.wait import NeverError, TooLateError
from harness.deployment.context import BootContext
from harness.deployment.images import RegistryImages
from harness.deployment.state import describe_changes
from harness.evidence.environment import parts
from harness.host import docker
from harness.services.container import Content, Services

PRE_PULLER = "component=continuous-image-puller"
"""Label of a pre-puller (zero-to-jupyterhub-k8s, jupyterhub/templates/image-puller)."""
HELD = "ol-jupyterhub-harness/pre-puller"
"""Label that no node has."""
SERVED = ("services", "images")
"""Keys of the state that are about the services, which come and go without the cluster."""


def reuse_or_reset(context: BootContext, made_of: str) -> None:
    """Use a kept copy again if it is whole and made of the same; remove anything else that is left.

    Args:
        made_of: fingerprint of what the cluster is to be made of.
    """
    plan, state, say = context.plan, context.state, context.steps.say
    running, there = docker.running(plan.name), docker.containers(plan.name).keys()
    lacking = sorted(parts(plan.name).keys() - running)
    nodes = set(context.cluster.nodes)
    kept, why = state.get("cluster"), ""
    if kept and kept != made_of:
        why = describe_changes(kept, made_of)
    elif kept and nodes <= there and running <= nodes:
        # Docker itself starts nodes again: kind asks it to.
        context.stopped = True
    elif lacking:
        why = f"it is no longer whole: {' '.join(lacking)} not running"
    elif kept and not context.cluster.answers():
        why = "it is no longer whole: its API server does not answer"
    if context.stopped:
        say(f"{'kept:':<11}cluster {plan.name} was stopped, and comes back with new services beside it")
        for key in SERVED:
            state.forget(key)
        docker.remove_containers(sorted(there - nodes))
        return
    if kept and not why:
        say(f"{'kept:':<11}cluster {plan.name} is used again, nothing it was made of has changed")
        return
    if kept:
        say(f"{'kept:':<11}cluster {plan.name} is replaced, {why}")
    docker.remove(plan.name, plan.name)
    state.clear()
    plan.secrets.unlink(missing_ok=True)
    docker.create_network(plan.name, plan.checkout, kept=plan.keep)


def create_cluster(context: BootContext, made_of: str) -> None:
    """Create the kind cluster, unless one was kept; one that was stopped comes back, or is replaced.

    Args:
        made_of: as `reuse_or_reset` takes it.
    """
    plan, state = context.plan, context.state
    context.nodes_exist = True
    if context.stopped:
        _resume_or_remove(context, made_of)
    if not state.get("cluster"):
        with context.steps.step("kind cluster") as step:
            configuration = plan.checkout / "kind-config.yaml"
            context.cluster.create(configuration, hub_port=plan.hub_port, authoring_port=plan.authoring_port)
            step.done("a control plane that takes pods, and a GPU worker")
        state.set("cluster", made_of)
    context.cluster_ready = True


def _resume_or_remove(context: BootContext, made_of: str) -> None:
    """Bring back a cluster that was stopped; remove the nodes of one that does not come back.

    It keeps its objects. The services start anew beside it, with empty databases, and so all pods are made anew.
    """
    cluster = context.cluster
    # A run that is killed in between leaves what no later run may take for whole.
    context.state.forget("cluster")
    try:
        with context.steps.step("kept cluster") as step:
            cluster.resume(before_pods=functools.partial(hold_pre_pullers, context))
            step.done("its nodes were stopped, and are back")
        context.state.set("cluster", made_of)
    except (ApiException, CommandError, NeverError, TooLateError) as error:
        why = " ".join(str(error).split())
        context.steps.say(f"{'kept:':<11}cluster {cluster.name} is replaced, it does not come back: {why}")
        docker.remove_containers(cluster.nodes)
        context.state.clear(but=SERVED)
        context.stopped = False


def hold_pre_pullers(context: BootContext) -> None:
    """Have no pre-puller run until `let_pre_pullers_run`: its containers, one for each course, would start before hubs.

    The images are on the nodes already, but for one that has changed in the registry.
    """
    context.state.set("pre-pullers", "held")
    _patch_pre_pullers(context, {HELD: "true"})


def let_pre_pullers_run(context: BootContext) -> None:
    """Have the pre-pullers run that were held, in this run or in one that was killed."""
    if context.state.get("pre-pullers"):
        _patch_pre_pullers(context, {HELD: None})
        context.state.forget("pre-pullers")


def _patch_pre_pullers(context: BootContext, labels: Mapping[str, str | None]) -> None:
    """Have the pre-pullers run on nodes with some labels alone; None takes a label away."""
    apps = context.cluster.apps
    patch = {"spec": {"template": {"spec": {"nodeSelector": labels}}}}
    for each in apps.list_daemon_set_for_all_namespaces(label_selector=PRE_PULLER).items:
        apps.patch_namespaced_daemon_set(each.metadata.name, each.metadata.namespace, patch)


def start_services(context: BootContext, artifacts: Artifacts, services: Services, images: RegistryImages) -> None:
    """Start the services beside the cluster, unless they were kept."""
    if context.state.get("services"):
        return
    with context.steps.step("services") as step:
        databases = tuple(dict.fromkeys(spec.database for spec in context.plan.hubs))
        services.start(artifacts.services, Content(databases, images.by_name))
        step.done(", ".join(service.TITLE for service in services if not service.ON_DEMAND))
    context.state.set("services", "started")
