"""The steps that bring up all but the hubs: the cluster, and the services beside it."""

from __future__ import annotations

from harness.artifacts.model import Artifacts
from harness.base.shell import CommandError
from harness.base.wait import NeverError, TooLateError
from harness.deployment.context import BootContext
from harness.deployment.images import RegistryImages
from harness.deployment.state import describe_changes
from harness.evidence.environment import parts
from harness.host import docker
from harness.services.container import Content, Services


def reuse_or_reset(context: BootContext, made_of: str) -> None:
    """Use a kept copy again if it is whole and made of the same; remove anything else that is left.

    Args:
        made_of: fingerprint of what the cluster is to be made of.
    """
    plan, state, say = context.plan, context.state, context.steps.say
    running = docker.running(plan.name)
    lacking = sorted(parts(plan.name).keys() - running)
    kept, why = state.get("cluster"), ""
    if kept and kept != made_of:
        why = describe_changes(kept, made_of)
    elif kept and set(context.cluster.nodes) <= docker.containers(plan.name).keys() - running:
        why = _why_not_resumed(context)
    elif lacking:
        why = f"it is no longer whole: {' '.join(lacking)} not running"
    elif kept and not context.cluster.answers():
        why = "it is no longer whole: its API server does not answer"
    if kept and not why:
        say(f"{'kept:':<11}cluster {plan.name} is used again, nothing it was made of has changed")
        return
    if kept:
        say(f"{'kept:':<11}cluster {plan.name} is replaced, {why}")
    docker.remove(plan.name, plan.name)
    state.clear()
    plan.secrets.unlink(missing_ok=True)
    docker.create_network(plan.name, plan.checkout, kept=plan.keep)


def _why_not_resumed(context: BootContext) -> str:
    """Bring back a kept copy that was stopped, such as by a restart of Docker; return why it does not come back.

    The cluster keeps its state. What services kept in memory is lost, so that they start anew, with empty databases,
    and with them the hubs.
    """
    cluster, state, name = context.cluster, context.state, context.plan.name
    services = sorted(parts(name).keys() - set(cluster.nodes))
    for key in ("services", *(spec.name for spec in context.plan.hubs)):
        state.forget(key)
    try:
        with context.steps.step("kept cluster") as step:
            docker.remove_containers(services)
            cluster.resume()
            step.done(f"the nodes of {name} were stopped, and are back")
    except (CommandError, NeverError, TooLateError) as error:
        return f"it was stopped, and does not come back: {' '.join(str(error).split())}"
    return ""


def create_cluster(context: BootContext, made_of: str) -> None:
    """Create the kind cluster, unless one was kept.

    Args:
        made_of: as `reuse_or_reset` takes it.
    """
    plan = context.plan
    context.nodes_exist = True
    if not context.state.get("cluster"):
        with context.steps.step("kind cluster") as step:
            configuration = plan.checkout / "kind-config.yaml"
            context.cluster.create(configuration, hub_port=plan.hub_port, authoring_port=plan.authoring_port)
            step.done("a control plane that takes pods, and a GPU worker")
        context.state.set("cluster", made_of)
    context.cluster_ready = True


def start_services(context: BootContext, artifacts: Artifacts, services: Services, images: RegistryImages) -> None:
    """Start the services beside the cluster, unless they were kept."""
    if context.state.get("services"):
        return
    with context.steps.step("services") as step:
        databases = tuple(dict.fromkeys(spec.database for spec in context.plan.hubs))
        services.start(artifacts.services, Content(databases, images.by_name))
        step.done(", ".join(service.TITLE for service in services))
    context.state.set("services", "started")
