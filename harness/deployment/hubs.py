"""The steps that bring up the hubs: their releases, their first answer, and no users but their own."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
from typing import Any

from harness.base.digest import fingerprint
from harness.base.signals import threads
from harness.base.wait import NeverError
from harness.deployment.context import BootContext
from harness.deployment.model import Deployment
from harness.deployment.releases import prerequisites
from harness.deployment.rollout import restart_hub, wait_for_answer, wait_until_ready
from harness.deployment.state import describe_changes, release_fingerprint
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub
from harness.plan.hubs import HubSpec

AT_ONCE = 4
"""Users that are removed at a time; each is mostly a wait for the end of a pod."""
GONE_TIMEOUT = 180.0
"""Seconds for a namespace to go, with all that is in it."""


def install_release(context: BootContext, running: Deployment, hub_spec: HubSpec) -> None:
    """Install a release or upgrade it, and wait until its pods are ready; nothing to do where nothing changed."""
    release = running.releases[hub_spec]
    wanted = release_fingerprint(running.chart, release)
    before = context.state.get(hub_spec.name)
    if before == wanted:
        try:
            # The pods of a copy that was stopped are new.
            wait_until_ready(running.cluster, release.namespace)
        except NeverError as error:
            context.steps.say(f"{'kept:':<11}release {release.name} is installed anew: {str(error).splitlines()[0]}")
            before = None
        else:
            return
    elif before:
        context.steps.say(f"{'kept:':<11}release {release.name} is upgraded, {describe_changes(before, wanted)}")
    # What fails half-way is neither what it was nor what it was to be: the next run must not take it for either.
    context.state.forget(hub_spec.name)
    context.state.set(f"{hub_spec.name} is", _names(running.plan.hub(hub_spec)))
    with context.steps.step(f"release {release.name}") as step:
        apply_prerequisites(context, running, hub_spec)
        if not before:
            # Of a release in no known state, no pod is in one either: neither the hub's nor a user's.
            running.cluster.remove_workloads(release.namespace)
        running.helm.upgrade_install(running.chart, release)
        wait_until_ready(running.cluster, release.namespace)
        step.done("hub, proxy and scheduler ready")
    context.state.set(hub_spec.name, wanted)


def remove_renamed(context: BootContext, running: Deployment) -> None:
    """Remove the releases that a kept copy has under other names than this run's, before one takes another's place."""
    for spec in running.releases:
        kept, now = context.state.get(f"{spec.name} is"), _names(spec)
        if kept in (None, now):
            continue
        context.steps.say(f"{'kept:':<11}release {kept} goes, {now} comes in its place")
        name, namespace, _ = kept.split()
        running.helm.uninstall(dataclasses.replace(running.releases[spec], name=name, namespace=namespace))
        # With the servers in it, which are no part of the release.
        context.cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout=GONE_TIMEOUT)
        for key in (spec.name, namespace, f"{spec.name} is"):
            context.state.forget(key)


def _names(hub_spec: HubSpec) -> str:
    """Return a hub's release, its namespace and its database, as the state of a kept copy has them."""
    return f"{hub_spec.release} {hub_spec.namespace} {hub_spec.database}"


def apply_prerequisites(context: BootContext, running: Deployment, hub_spec: HubSpec) -> None:
    """Bring a release's prerequisites into the cluster; nothing to do where they are what they were."""
    objects = prerequisites(running.objects[hub_spec], hub_spec, running.database)
    namespace = running.releases[hub_spec].namespace
    wanted = fingerprint([json.dumps(objects)])
    if context.state.get(namespace) != wanted:
        running.database.ensure_database(hub_spec.database)
        running.cluster.apply(namespace, *objects)
        context.state.set(namespace, wanted)


def wait_for_hub(context: BootContext, hub: Hub) -> str:
    """Wait until a hub answers through its proxy; returns the version of its JupyterHub."""
    version = wait_for_answer(hub, functools.partial(why_unrecoverable, context.cluster, hub.namespace))
    context.steps.say(f"{hub.release + ':':<22}{hub.url}  (JupyterHub {version})")
    return version


def remove_users(context: BootContext, hub: Hub) -> None:
    """Remove the users that an earlier run left on a hub, in any state of their servers.

    An admin without a server stays: a hub makes those of its configuration itself, whenever it starts.
    """
    users = hub.users()
    left = [name for name, user in users.items() if user["servers"] or not user["admin"]]
    if not left:
        return
    with context.steps.step(f"users on {hub.release}") as step:
        starting = [name for name in left if _is_starting(users[name])]
        for name in starting:
            context.cluster.remove_server(hub.namespace, name)
        if starting:
            restart_hub(context.cluster, hub)
        _delete_users(context, hub, left)
        step.done(f"{len(left)} left by an earlier run removed, {len(starting)} with a server that was still starting")


def _delete_users(context: BootContext, hub: Hub, names: list[str]) -> None:
    ending = threading.Event()

    def why_not() -> str | None:
        return "the run is ending" if ending.is_set() else why_unrecoverable(context.cluster, hub.namespace)

    with threads(AT_ONCE) as pool:
        try:
            list(pool.map(functools.partial(hub.delete_user, fail_if=why_not), names))
        finally:
            # For Ctrl-C, which must not wait for the deletions that are left.
            ending.set()


def _is_starting(user: dict[str, Any]) -> bool:
    """Return whether a user's server is starting, or a hub that was restarted still checks whether it is.

    A hub does not delete such a user, and waits up to ten minutes for a server that never comes. Restarted, it lets go
    of the server if its pod is gone by then, and waits all the same if it is not.
    """
    return not {"spawn", "check"}.isdisjoint(server["pending"] for server in user["servers"].values())
