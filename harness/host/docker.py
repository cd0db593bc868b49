"""Containers, volumes and networks of a run, by the docker command.

All of them have the run's label, by which the next run after a crash, and `tox -e down`, find them.
"""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.base.errors import EnvironmentFault
from harness.base.shell import CommandError, lines_of, run
from harness.base.wait import NotYet, wait_until
from harness.host.identity import identity

LABEL = "ol-jupyterhub-harness"
KIND_LABEL = "io.x-k8s.kind.cluster"
"""Label that kind gives its node containers (kind, pkg/cluster/internal/providers/docker)."""
CHECKOUT_LABEL = f"{LABEL}.checkout"
KEPT_LABEL = f"{LABEL}.kept"
IDENTITY_LABEL = f"{LABEL}.identity"
HOST_LABEL = f"{LABEL}.host"
"""Labels of a run's network: its checkout's path, whether it was to stay, the checkout's identity, and the host's name
where the run began (in a container, the container's)."""
ON_DEMAND_LABEL = f"{LABEL}.on-demand"
"""Label of a container that only some tests need."""
NO_ADDRESSES = ("non-overlapping IPv4 address pool", "address pools have been fully subnetted")
"""Parts of Docker's messages for used-up address pools, of older and of newer versions."""

FAILURES = {"die": "died", "pause": "was paused"}
"""Docker's events after which a container no longer works, each with its word in messages."""
LIST_TIMEOUT = 8.0
"""Seconds for a list of containers."""


def docker(*args: str | Path, timeout: float = 60, stdin: str | None = None) -> str:
    """Run a docker command and return what it printed, stripped.

    Raises:
        CommandError: it failed, or took longer than `timeout` seconds.
    """
    return run(["docker", *args], timeout=timeout, stdin=stdin, what=f"docker {args[0]}").strip()


def start(
    name: str,
    image: str,
    *,
    owner: str,
    network: str,
    ports: Sequence[int],
    on_demand: bool = False,
    aliases: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
    user: str = "",
    command: Sequence[str] = (),
) -> None:
    """Start a container on the run's network, with each of its ports published on a free loopback port.

    Variables get their values from docker's own environment, so that no process list shows secrets.

    Args:
        on_demand: it belongs to the tests that ask for it, which may stop it.
        aliases: further names that it has on the network.
        volumes: files and directories of the host, each with its path in the container; `:ro` after it for read-only.
        user: `uid:gid` of its processes; the image's own where this is empty.

    Raises:
        EnvironmentFault: the daemon does not see this host's files.
        CommandError: it does not start.
    """
    env = env or {}
    args: list[str | Path] = ["run", "--detach", "--name", name, "--label", f"{LABEL}={owner}", "--network", network]
    args += ["--label", f"{ON_DEMAND_LABEL}=true"] if on_demand else []
    for alias in aliases:
        args += ["--network-alias", alias]
    for port in ports:
        args += ["--publish", f"127.0.0.1::{port}"]
    args += ["--pull", "never"]
    for key in env:
        args += ["--env", key]
    for host_path, path in (volumes or {}).items():
        args += ["--mount", bind(host_path, path)]
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


def run_once(
    image: str,
    command: Sequence[str],
    *,
    name: str,
    mounts: Iterable[str],
    owner: str = "",
    privileged: bool = False,
    timeout: float,
) -> None:
    """Run a program of an image to its end, in a container that is gone then, without a network.

    Args:
        mounts: values of --mount.
        owner: the run that it belongs to; empty for none.
        timeout: seconds.

    Raises:
        CommandError: it failed, or took longer.
    """
    args = ["run", "--rm", "--name", name, "--network", "none", "--pull", "never"]
    args += ["--label", f"{LABEL}={owner}"] if owner else []
    args += ["--privileged"] if privileged else []
    for mount in mounts:
        args += ["--mount", mount]
    program, *arguments = command
    try:
        docker(*args, "--entrypoint", program, image, *arguments, timeout=timeout)
    except BaseException:
        # One whose client was killed goes on.
        remove_container(name)
        raise


def bind(host_path: Path, path: str) -> str:
    """Return a bind mount for --mount: a row of comma-separated values, in which a path may have any character."""
    target, _, mode = path.partition(":")
    row = ["type=bind", f"source={host_path}", f"target={target}", *(["readonly"] if mode == "ro" else [])]
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(row)
    return written.getvalue()


def published(name: str, port: int) -> str:
    """Return the loopback address, as host:port, at which a container's port is published."""
    return docker("port", name, f"{port}/tcp").splitlines()[0]


def started_at(name: str) -> float:
    """Return when a container was started last, as time.time()."""
    return datetime.fromisoformat(docker("inspect", "--format", "{{.State.StartedAt}}", name)).timestamp()


def address(name: str, network: str) -> str:
    """Return a container's IPv4 address on a network."""
    inspected: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return str(inspected[0]["NetworkSettings"]["Networks"][network]["IPAddress"])


def create_network(owner: str, checkout: Path, *, kept: bool) -> None:
    """Create the run's network, named like it; its labels name the checkout that it belongs to.

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
    """Return the names of the run's containers and nodes that are running now."""
    return _listed(owner, "{{.Names}}", "--filter", "status=running")


def stopped(owner: str, expected: Collection[str] = (), *, others: bool = True) -> str | None:
    """Describe the run's containers and nodes that are not running; None where all are.

    Args:
        expected: names of containers that have to exist; others may.
        others: whether those others have to run, but for those on demand, which a test may have stopped.
    """
    listed = f'{{{{.Names}}}}\t{{{{.Label "{ON_DEMAND_LABEL}"}}}}\t{{{{.State}}}}\t{{{{.Status}}}}'
    try:
        lines = docker("ps", "--all", "--filter", f"name=^/?{owner}-", "--format", listed, timeout=LIST_TIMEOUT)
    except CommandError as error:
        return f"Docker does not answer: {' '.join(str(error).split())}"
    columns = (line.split("\t") for line in lines.splitlines())
    found = {name: (state, status, on_demand) for name, on_demand, state, status in columns}
    # One that was only just created is about to run.
    dead = [
        name
        for name, (state, _, on_demand) in found.items()
        if state not in ("running", "created") and (name in expected or (others and not on_demand))
    ]
    problems = [f"container {name} does not run: {found[name][1]}{_quoted_last_line(name)}" for name in dead]
    return "; ".join([*problems, *(f"container {name} is gone" for name in expected if name not in found)]) or None


def _quoted_last_line(name: str) -> str:
    line = last_words(name)
    return f", its last line: {line}" if line else ""


@contextmanager
def failures(names: Iterable[str]) -> Iterator[Iterator[str]]:
    """Stream container failures while the context is open, such as "jh-1-registry died"; they end when Docker does."""
    filters = [f"--filter=container={name}" for name in names] + [f"--filter=event={event}" for event in FAILURES]
    with lines_of(["docker", "events", "--format={{.Actor.Attributes.name}} {{.Action}}", *filters]) as lines:
        events = (line.strip().rpartition(" ") for line in lines)
        yield (f"{name} {FAILURES[event]}" for name, _, event in events if event in FAILURES)


def last_words(name: str) -> str:
    """Return the last line of a container's log, at most 200 characters of it; an empty text for none."""
    return " ".join(logs(name, lines=1).split())[:200]


def containers(owner: str) -> dict[str, str]:
    """Return Docker's status of each of the run's containers and nodes, by name, such as "Up 2 minutes (Paused)"."""
    lines = sorted(_listed(owner, "{{.Names}}\t{{.Status}}", "--all", timeout=20))
    return {name: status for name, _, status in (line.partition("\t") for line in lines)}


def volumes(owner: str) -> set[str]:
    """Return the names of the volumes of the run, and of its containers and nodes, anonymous ones too."""
    mounts = {mount for line in _listed(owner, "{{.Mounts}}", "--all", "--no-trunc") for mount in line.split(",")}
    # A mount that is a path is a directory of the machine.
    return {*_volumes(f"label={LABEL}={owner}"), *(mount for mount in mounts if mount and "/" not in mount)}


def volumes_of(namespace: str) -> set[str]:
    """Return the names of all volumes that begin with a namespace and a hyphen."""
    return {name for name in _volumes(f"name={namespace}-") if name.startswith(f"{namespace}-")}


def newest_first(volumes: Collection[str]) -> list[str]:
    """Sort volumes by the time at which they were created."""
    if not volumes:
        return []
    dated = docker("volume", "inspect", "--format", "{{.CreatedAt}}\t{{.Name}}", *volumes).splitlines()
    return [line.partition("\t")[2] for line in sorted(dated, reverse=True)]


def create_volume(name: str, owner: str = "") -> None:
    """Create a volume, which belongs to a run if one is given."""
    docker("volume", "create", *([f"--label={LABEL}={owner}"] if owner else []), name)


def place_of_volume(name: str) -> Path:
    """Return the directory of a volume on the daemon's host."""
    return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", name))


def remove_volumes(names: Iterable[str]) -> None:
    """Remove volumes; those that are not there are left out."""
    if names := sorted(names):
        docker("volume", "rm", "--force", *names, timeout=180)


def _volumes(where: str) -> set[str]:
    return set(docker("volume", "ls", "--quiet", "--filter", where).split())


def remove_containers(names: Iterable[str]) -> None:
    """Remove containers with their volumes; those that are not there are left out."""
    docker("rm", "--force", "--volumes", *names, timeout=180)


def remove(owner: str, network: str) -> list[str]:
    """Remove the run's containers, nodes, volumes and network; return the names of what is removed but volumes.

    It looks again until nothing is left: a container that was being started when the run ended may still come up.
    """
    gone: list[str] = []

    def nothing_left() -> list[str] | NotYet:
        names = sorted(_listed(owner, "{{.Names}}", "--all"))
        if names:
            remove_containers(names)
            gone.extend(names)
            return NotYet(f"{' '.join(names)} were there")
        remove_volumes(_volumes(f"label={LABEL}={owner}"))
        if network in docker("network", "ls", "--format", "{{.Name}}").split():
            docker("network", "rm", network)
            gone.append(network)
        return gone

    return wait_until(f"the removal of {owner}", nothing_left, timeout=240)


def remove_container(name: str) -> None:
    """Remove a container with its volumes, if there is one of that name."""
    if docker("ps", "--all", "--filter", f"name=^/?{name}$", "--format", "{{.Names}}"):
        docker("rm", "--force", "--volumes", name, timeout=180)


def logs(name: str, lines: int = 200) -> str:
    """Return the last lines of a container's log, output and errors together; empty for one that does not exist."""
    try:
        return run(["sh", "-c", 'docker logs --tail "$1" "$2" 2>&1', "logs", str(lines), name], timeout=30)
    except CommandError:
        return ""


def _listed(owner: str, columns: str, *options: str, timeout: float = 60) -> set[str]:
    """Return a line for each of the run's containers and nodes."""
    lines: set[str] = set()
    for label in (LABEL, KIND_LABEL):
        ours = ("--filter", f"label={label}={owner}", "--format", columns)
        lines.update(docker("ps", *options, *ours, timeout=timeout).splitlines())
    return lines
