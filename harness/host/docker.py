"""The containers that stand beside the cluster, by way of the docker command.

Everything a run makes carries its label, and that label is how it is found again: by the next run after a crash, and by
`tox -e down`.
"""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.base.errors import EnvironmentFault
from harness.base.shell import CommandError, lines_of, run
from harness.base.wait import NotYet, wait_until
from harness.host.identity import identity

LABEL = "ol-jupyterhub-harness"
KIND_LABEL = "io.x-k8s.kind.cluster"
"""The label kind puts on its node containers, from kind's source (pkg/cluster/internal/providers/docker)."""
CHECKOUT_LABEL = f"{LABEL}.checkout"
KEPT_LABEL = f"{LABEL}.kept"
IDENTITY_LABEL = f"{LABEL}.identity"
HOST_LABEL = f"{LABEL}.host"
"""Labels of a run's network: its checkout's path, whether it was to stay, the checkout's identity, and the host's name
where the run began (in a container, the container's)."""
NO_ADDRESSES = ("non-overlapping IPv4 address pool", "address pools have been fully subnetted")
"""Parts of Docker's messages for used-up address pools, those of version 28 and before, and of 29."""

FALLS = {"die": "died", "pause": "was paused"}
"""What ends a container's work, by Docker's word for the event."""
LOOK_TIMEOUT = 8.0
"""Seconds for a look at what is there."""


def docker(*args: str | Path, timeout: float = 60, stdin: str | None = None) -> str:
    """Run a docker command and return what it printed, stripped.

    Raises:
        CommandError: it failed or took longer than `timeout` seconds.
    """
    return run(["docker", *args], timeout=timeout, stdin=stdin, what=f"docker {args[0]}").strip()


def start(
    name: str,
    image: str,
    *,
    owner: str,
    network: str,
    port: int,
    env: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
    user: str = "",
    command: Sequence[str] = (),
) -> None:
    """Start a container on the run's network, its port published on a free loopback port.

    Secrets go through an environment of docker's own, so that no process list shows them.

    Args:
        volumes: files and directories of the machine, each with its place in the container and `:ro` where it is only
            to be read.
        user: who it runs as, `uid:gid`; the image decides where this is empty.
    """
    env = env or {}
    args: list[str | Path] = ["run", "--detach", "--name", name, "--label", f"{LABEL}={owner}", "--network", network]
    args += ["--publish", f"127.0.0.1::{port}", "--pull", "never"]
    for key in env:
        args += ["--env", key]
    for host_path, path in (volumes or {}).items():
        args += ["--mount", _bind(host_path, path)]
    if user:
        args += ["--user", user]
    try:
        run(["docker", *args, image, *command], timeout=120, env=env, what=f"starting {name}")
    except CommandError as error:
        if "bind source path does not exist" in error.output:
            raise EnvironmentFault(
                f"The Docker daemon does not see this machine's files ({error.output.strip().splitlines()[0]}).\n"
                "A run in a container needs its checkout at the same path on the daemon's host, and the host's network."
            ) from error
        raise


def _bind(host_path: Path, path: str) -> str:
    """A bind mount as --mount takes it: a row of comma-separated values, so that a path may have any character."""
    target, _, mode = path.partition(":")
    row = ["type=bind", f"source={host_path}", f"target={target}", *(["readonly"] if mode == "ro" else [])]
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(row)
    return written.getvalue()


def published(name: str, port: int) -> str:
    """The loopback address, as host:port, at which a container's port is published."""
    return docker("port", name, f"{port}/tcp").splitlines()[0]


def address(name: str, network: str) -> str:
    """A container's IPv4 address on a network."""
    inspected: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return str(inspected[0]["NetworkSettings"]["Networks"][network]["IPAddress"])


def create_network(owner: str, checkout: Path, *, kept: bool) -> None:
    """Create the run's network, named like it; its labels tell which checkout it belongs to.

    Raises:
        EnvironmentFault: Docker has no addresses left for it.
    """
    labels = {
        LABEL: owner,
        CHECKOUT_LABEL: checkout,
        KEPT_LABEL: "yes" if kept else "no",
        IDENTITY_LABEL: identity(checkout),
        HOST_LABEL: socket.gethostname(),
    }
    given = [f"--label={name}={value}" for name, value in labels.items()]
    try:
        docker("network", "create", *given, owner)
    except CommandError as error:
        if any(cause in error.output for cause in NO_ADDRESSES):
            raise EnvironmentFault(
                "Docker has no range of addresses left for another network. Remove unused ones (docker network prune), "
                "or give it more: default-address-pools in /etc/docker/daemon.json."
            ) from error
        raise


def networks(owner: str = "") -> list[dict[str, str]]:
    """Return the networks of all runs, or of one: name, labels, and when each was created (`created`)."""
    label = f"{LABEL}={owner}" if owner else LABEL
    labels = {"checkout": CHECKOUT_LABEL, "kept": KEPT_LABEL, "identity": IDENTITY_LABEL, "host": HOST_LABEL}
    fields = ["{{.Name}}", *(f'{{{{.Label "{each}"}}}}' for each in labels.values()), "{{.CreatedAt}}"]
    lines = docker("network", "ls", "--filter", f"label={label}", "--format", "\t".join(fields)).splitlines()
    return [dict(zip(("name", *labels, "created"), line.split("\t"), strict=True)) for line in lines]


def running(owner: str) -> set[str]:
    """Names of the run's own containers and of its nodes that are running now."""
    return set(_containers(owner, "--filter", "status=running"))


def stopped(owner: str, expected: Iterable[str] = ()) -> str | None:
    """Which of a run's containers and nodes do not run any more, in Docker's words; None where all do.

    Args:
        expected: names that have to be there; others are looked at where they are.
    """
    listed = "{{.Names}}\t{{.State}}\t{{.Status}}"
    try:
        said = docker("ps", "--all", "--filter", f"name=^/?{owner}-", "--format", listed, timeout=LOOK_TIMEOUT)
    except CommandError as error:
        return f"Docker does not answer: {' '.join(str(error).split())}"
    found = {name: (state, status) for name, state, status in (line.split("\t") for line in said.splitlines())}
    # One that was only just created is about to run.
    still = [name for name, (state, _) in found.items() if state not in ("running", "created")]
    told = [f"container {name} does not run: {found[name][1]}{_its_last_words(name)}" for name in still]
    return "; ".join([*told, *(f"container {name} is gone" for name in expected if name not in found)]) or None


def _its_last_words(name: str) -> str:
    said = last_words(name)
    return f", its last words: {said}" if said else ""


@contextmanager
def falls(names: Iterable[str]) -> Iterator[Iterator[str]]:
    """What befalls some containers while the block runs, as it happens: "jh-1-registry died"; ends when Docker does."""
    filters = [f"--filter=container={name}" for name in names] + [f"--filter=event={event}" for event in FALLS]
    with lines_of(["docker", "events", "--format={{.Actor.Attributes.name}} {{.Action}}", *filters]) as lines:
        told = (line.strip().rpartition(" ") for line in lines)
        yield (f"{name} {FALLS[event]}" for name, _, event in told if event in FALLS)


def last_words(name: str) -> str:
    """The last line that a container wrote, at most 200 characters of it; empty for none."""
    return " ".join(logs(name, lines=1).split())[:200]


def containers(owner: str) -> dict[str, str]:
    """What Docker says of each of the run's containers and nodes, by name: "Up 2 minutes (Paused)"."""
    found: dict[str, str] = {}
    for label in _labels(owner):
        listed = docker("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}\t{{.Status}}", timeout=20)
        found |= {name: status for name, _, status in (line.partition("\t") for line in listed.splitlines())}
    return dict(sorted(found.items()))


def volumes(owner: str) -> set[str]:
    """Names of the volumes that the run's containers and nodes have, anonymous ones too."""
    found: set[str] = set()
    for label in _labels(owner):
        # A mount that is a path is a directory of the machine.
        listed = docker("ps", "--all", "--no-trunc", "--filter", f"label={label}", "--format", "{{.Mounts}}")
        found.update(mount for line in listed.split() for mount in line.split(",") if "/" not in mount)
    return found


def remove(owner: str, network: str) -> list[str]:
    """Remove the run's containers with their volumes, its nodes and its network; return the names of what went.

    It looks until nothing is left: what was just being started when the run ended may still come up.
    """
    gone: list[str] = []

    def nothing_left() -> list[str] | NotYet:
        names = _containers(owner, "--all")
        if names:
            docker("rm", "--force", "--volumes", *names, timeout=180)
            gone.extend(names)
            return NotYet(f"{' '.join(names)} were there")
        if network in docker("network", "ls", "--format", "{{.Name}}").split():
            docker("network", "rm", network)
            gone.append(network)
        return gone

    return wait_until(f"the removal of {owner}", nothing_left, timeout=240)


def logs(name: str, lines: int = 200) -> str:
    """The last lines a container wrote, standard output and error together; empty for one that does not exist."""
    try:
        return run(["sh", "-c", 'docker logs --tail "$1" "$2" 2>&1', "logs", str(lines), name], timeout=30)
    except CommandError:
        return ""


def _labels(owner: str) -> tuple[str, str]:
    return f"{LABEL}={owner}", f"{KIND_LABEL}={owner}"


def _containers(owner: str, *filters: str) -> list[str]:
    names: set[str] = set()
    for label in _labels(owner):
        names.update(docker("ps", *filters, "--filter", f"label={label}", "--format", "{{.Names}}").split())
    return sorted(names)
