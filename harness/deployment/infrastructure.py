"""The steps that bring up all but the hubs: the cluster, and the services beside it."""

from __future__ import annotations

from harness.artifacts.model import Artifacts
from harness.deployment.context import BootContext
from harness.deployment.images import RegistryImages
from harness.deployment.state import describe_changes
from harness.evidence.environment import parts
from harness.host import docker
from harness.plan.hubs import HUBS
from harness.services.container import Content, Services


def reuse_or_reset(context: BootContext, made_of: str) -> None:
    """Use a kept copy again if it is whole and made of the same; remove anything else that is left.

    Args:
        made_of: fingerprint of what the cluster is to be made of.
    """
    plan, state, say = context.plan, context.state, context.steps.say
    lacking = sorted(parts(plan.name).keys() - docker.running(plan.name))
    kept = state.get("cluster")
    if kept == made_of and not lacking and context.cluster.answers():
        say(f"{'kept:':<11}cluster {plan.name} is used again, nothing it was made of has changed")
        return
    if kept:
        broken = f"{' '.join(lacking)} not running" if lacking else "its API server does not answer"
        why = describe_changes(kept, made_of) if kept != made_of else f"it is no longer whole: {broken}"
        say(f"{'kept:':<11}cluster {plan.name} is replaced, {why}")
    docker.remove(plan.name, plan.name)
    state.clear()
    plan.secrets.unlink(missing_ok=True)
    docker.create_network(plan.name, plan.checkout, kept=plan.keep)


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
        services.start(artifacts.services, Content(tuple(spec.database for spec in HUBS), images.by_name))
        step.done(", ".join(service.TITLE for service in services if not service.ON_DEMAND))
    context.state.set("services", "started")
