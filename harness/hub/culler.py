"""The idle culler of a hub, and the times that it runs with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.charts.manifests import hub_values
from harness.cluster.kind import Cluster
from harness.hub.api import Hub

MODULE = "jupyterhub_idle_culler"
LOOK = "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$each 2>/dev/null && echo; done"


@dataclass(frozen=True)
class Times:
    """The culler's three times, in seconds."""

    every: float
    timeout: float
    max_age: float

    def __truediv__(self, factor: float) -> Times:
        return Times(self.every / factor, self.timeout / factor, self.max_age / factor)


@dataclass(frozen=True)
class Culler:
    """A running culler."""

    times: Times
    users: bool
    """True if it deletes users too, not only their servers."""


def read_culler(cluster: Cluster, hub: Hub) -> Culler:
    """Read the options of a hub's culler from its process in the hub's pod.

    Raises:
        HarnessError: none runs, or it keeps on ending; the message has its last words.
    """
    pods = cluster.pods(hub.namespace)
    [pod] = pods.look("component=hub")
    name = pod.metadata.name
    commands = [line.split() for line in cluster.execute(hub.namespace, name, "sh", "-c", LOOK).splitlines()]
    # A shell that has the culler's command among its arguments may never come to it.
    running = [command for command in commands if MODULE in command and Path(command[0]).name.startswith("python")]
    log = pods.logs(name, "hub").splitlines()
    about = [line for line in log if "idle-culler" in line or MODULE in line]
    ended = [line for line in about if "exited with status" in line]
    # argparse's refusal of a flag that this version does not take; the line does not name the program.
    refused = [line for line in log if ": error: " in line]
    if ended or not running:
        why = (refused or ended or about or ["the hub's log does not mention it"])[-1]
        raise HarnessError(
            f"{hub.release}: the culler does not run, so idle servers stay for ever. The hub's log: {why.strip()}"
        )
    return read_command(running[0])


def read_command(command: Iterable[str]) -> Culler:
    """Return the culler that a command runs."""
    flags = dict(part.removeprefix("--").partition("=")[::2] for part in command if part.startswith("--"))
    # A flag that the chart leaves out has the culler's own default (jupyterhub_idle_culler, 1.4.0).
    timeout = float(flags.get("timeout", 600))
    every = float(flags.get("cull-every", 0)) or timeout / 2
    users = flags.get("cull-users", "false") in ("", "true", "True", "1")
    return Culler(Times(every, timeout, float(flags.get("max-age", 0))), users)


def configured(objects: list[dict[str, Any]]) -> Times:
    """Return the times that a release's values ask for."""
    cull = hub_values(objects)["cull"]
    return Times(float(cull["every"]), float(cull["timeout"]), float(cull["maxAge"]))
