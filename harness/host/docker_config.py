"""Settings of the docker command that a user has made, and that a run has to see through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.base.errors import EnvironmentFault
from harness.base.shell import run

HERE = ("", "localhost", "127.0.0.1", "::1")


def directory(environ: Mapping[str, str]) -> Path:
    """Return the directory of Docker's command line."""
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings; none where there is no file.

    Raises:
        EnvironmentFault: the file is broken.
    """
    file = directory(environ) / "config.json"
    try:
        settings = json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{file} cannot be read: {error}. Correct it, or set DOCKER_CONFIG.") from error
    if not isinstance(settings, dict):
        raise EnvironmentFault(f"{file}: expected a JSON object. Correct it, or set DOCKER_CONFIG.")
    return settings


def check_daemon_is_here(environ: Mapping[str, str]) -> None:
    """Check that docker talks to a daemon of this machine.

    Raises:
        EnvironmentFault: it is another machine's.
    """
    host, source = environ.get("DOCKER_HOST", ""), "DOCKER_HOST"
    context = environ.get("DOCKER_CONTEXT") or read(environ).get("currentContext", "")
    if not host and context not in ("", "default"):
        source = f"Docker's context {context}"
        find = ["docker", "context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}"]
        host = run(find, timeout=20, what="docker context inspect").strip()
    where = urlsplit(host)
    if where.scheme in ("tcp", "http", "https", "ssh") and where.hostname not in HERE:
        raise EnvironmentFault(
            f"{source} is {host}: that daemon publishes ports and mounts directories of another machine.\n"
            "Run on that machine, or let docker talk to a daemon of this one (unset DOCKER_HOST, docker context use)."
        )


def overlay(environ: Mapping[str, str], direct: Collection[str], into: Path) -> bool:
    """Write a directory for DOCKER_CONFIG that works for a run, and leave the user's as it is.

    Docker gives its `proxies` to every container, kind's nodes too, which have to reach the run's own containers
    directly; and a credential helper that is not installed fails what needs no credentials.

    Args:
        direct: names and addresses that no proxy is asked for.

    Returns:
        Whether the user's settings need that; otherwise nothing is written.
    """
    settings = read(environ)
    changed = dict(settings)
    if _missing_helper(changed.get("credsStore")):
        del changed["credsStore"]
    if "credHelpers" in changed:
        changed["credHelpers"] = {
            registry: name for registry, name in changed["credHelpers"].items() if not _missing_helper(name)
        }
    if "proxies" in changed:
        changed["proxies"] = {
            daemon: {**proxy, "noProxy": ",".join(filter(None, [proxy.get("noProxy"), *direct]))}
            for daemon, proxy in changed["proxies"].items()
        }
    if changed == settings:
        return False
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in directory(environ).iterdir():
        if entry.name != "config.json":
            (into / entry.name).symlink_to(entry.resolve())
    (into / "config.json").touch(mode=0o600)
    (into / "config.json").write_text(json.dumps(changed))
    return True


def _missing_helper(name: str | None) -> bool:
    return bool(name) and not shutil.which(f"docker-credential-{name}")
