"""Faults of a hub: its process killed, its culler stopped, an image that its pre-puller cannot pull."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster
from harness.hub.api import Hub
from harness.hub.culler import MODULE

PRE_PULLER = "daemonset/continuous-image-puller"
MISSING_TAG = "not-in-the-registry"
HUB_PROGRAM = "jupyterhub_config.py"
"""A word of the command line of the hub itself."""
_SIGNAL = """
import os, signal, sys
word, name = sys.argv[1:]
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        line = open(f"/proc/{pid}/cmdline").read()
    except OSError:
        continue
    # Neither the init of the container, nor this program and the shell that it is run by.
    if pid != "1" and word in line and "listdir" not in line:
        os.kill(int(pid), getattr(signal, name))
        print(pid)
"""


def crash_hub(cluster: Cluster, hub: Hub) -> None:
    """Kill the process of a hub, as the kernel does for want of memory; its container is started again.

    Raises:
        HarnessError: there is no such process.
    """
    _signal(cluster, hub, HUB_PROGRAM, "SIGKILL")


@contextmanager
def stopped_culler(cluster: Cluster, hub: Hub) -> Iterator[None]:
    """Let a hub's culler hang while the context is open.

    Raises:
        HarnessError: no culler runs.
    """
    _signal(cluster, hub, MODULE, "SIGSTOP")
    try:
        yield
    finally:
        _signal(cluster, hub, MODULE, "SIGCONT")


@contextmanager
def stuck_puller(cluster: Cluster, hub: Hub) -> Iterator[None]:
    """Have a hub's pre-puller ask for an image that is not there while the context is open."""
    template = "{.spec.template.spec.initContainers[0]['name','image']}"
    found = cluster.kubectl(
        "--namespace", hub.namespace, "get", PRE_PULLER, "--ignore-not-found", f"--output=jsonpath={template}"
    ).split()
    if len(found) != 2:
        raise HarnessError(f"{hub.release}: expected a pre-puller with an image to pull, found {found}")
    container, image = found

    def pull(wanted: str) -> None:
        cluster.kubectl("--namespace", hub.namespace, "set", "image", PRE_PULLER, f"{container}={wanted}")

    pull(f"{image.rpartition(':')[0]}:{MISSING_TAG}")
    try:
        yield
    finally:
        pull(image)


@contextmanager
def unavailable_hub(cluster: Cluster, hub: Hub) -> Iterator[None]:
    """Have a hub's Deployment ask for an image that is not there while the context is open: no hub answers."""
    image = cluster.deployment(hub.namespace, "hub")["spec"]["template"]["spec"]["containers"][0]["image"]

    def run(wanted: str) -> None:
        cluster.kubectl("--namespace", hub.namespace, "set", "image", "deployment/hub", f"hub={wanted}")

    run(f"{image.rpartition(':')[0]}:{MISSING_TAG}")
    try:
        yield
    finally:
        run(image)


def _signal(cluster: Cluster, hub: Hub, word: str, signal: str) -> None:
    """Send a signal to the processes in a hub's pod that have a word on their command line."""
    [pod] = cluster.pods(hub.namespace).look("component=hub")
    command = ("python3", "-c", _SIGNAL, word, signal)
    if not cluster.execute(hub.namespace, pod.metadata.name, *command).split():
        raise HarnessError(f"{hub.release}: no process in its pod is called {word}")
