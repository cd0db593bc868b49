"""Keep what the caller's environment sets for other work away from a run, and from all programs that it starts."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host import docker_config
from harness.host.leak_check import scratch_prefix, scratch_root

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CLUSTER = ("10.96.0.0/16", "10.244.0.0/16", ".svc", ".svc.cluster.local", "cluster.local")
"""Addresses and names of Services and pods, which kind sets for its nodes only where it sees the proxy itself."""
GIVEN_NO_PROXY = "OL_JUPYTERHUB_HARNESS_NO_PROXY"
"""Environment variable with what the caller's no_proxy was: without the names of a run, which no artifact has."""
OPEN_FILES = 1024
"""Files that one process of a run may have open at once; the soft limit that nearly all systems set."""


@contextmanager
def isolated(containers: Collection[str]) -> Iterator[None]:
    """Change this process's environment while the context is open.

    No proxy is asked for what is on loopback or in the run's own network, and images are of this machine's platform.

    Args:
        containers: names of the run's containers, as its nodes call them.
    """
    direct = (*LOOPBACK, *containers, *CLUSTER)
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(), dir=scratch_root()) as scratch:
        if docker_config.overlay(os.environ, direct, Path(scratch, "docker")):
            os.environ["DOCKER_CONFIG"] = f"{scratch}/docker"
        given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
        # Of a run inside another, such as a drill's, the caller is the outer one's.
        os.environ.setdefault(GIVEN_NO_PROXY, given)
        # Some programs read one, some the other.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (given, *direct)))
        os.environ.pop("DOCKER_DEFAULT_PLATFORM", None)
        _raise_open_files()
        try:
            yield
        finally:
            for name in ("DOCKER_CONFIG", "DOCKER_DEFAULT_PLATFORM", "no_proxy", "NO_PROXY", GIVEN_NO_PROXY):
                os.environ.pop(name, None)
                os.environ.update({name: before[name]} if name in before else {})


def _raise_open_files() -> None:
    """Raise the soft limit as far as it goes; `requirements` refuses what is too low after that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
