"""Images from Dockerfiles, by way of `docker build`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from harness.docker import docker
from harness.errors import HarnessError
from harness.shell import CommandError, run, tail
from harness.surroundings import proxies

NAMESPACE = "ol-jupyterhub-harness"
"""All images that a run makes are named NAMESPACE/artifact:key."""

STEP = re.compile(r"^Step \d+/\d+ : (?P<classic>.*)$|^ > \[[^\]]*\] (?P<buildkit>.*?):?$", re.MULTILINE)
"""How the classic builder and BuildKit name the step under way or the one that failed."""


def build_image(
    context: Path,
    *,
    tag: str,
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    what: str | None = None,
) -> None:
    """Build a directory's Dockerfile, with the network that the machine has.

    Args:
        what: how a message names the image; its tag otherwise.

    Raises:
        HarnessError: the Dockerfile does not build; the step that failed and its last lines are in the message.
    """
    options: list[str] = []
    for name, value in {**proxies(), **(build_args or {})}.items():
        options += ["--build-arg", f"{name}={value}"]
    for name, value in (labels or {}).items():
        options += ["--label", f"{name}={value}"]
    command = ["docker", "build", "--network", "host", "--force-rm", "--tag", tag, *options, str(context)]
    try:
        run(command, timeout=1800, what=f"docker build {tag}")
    except CommandError as error:
        raise HarnessError(explain(error, what or tag)) from error


def explain(error: CommandError, what: str) -> str:
    """Why an image could not be built: the step of its Dockerfile and the last lines before its end."""
    steps = list(STEP.finditer(error.output))
    if not steps:
        return f"{what} cannot be built.{tail(error.output) or f' {error}'}"
    return f"{what} cannot be built. It fails at: {steps[-1][1] or steps[-1][2]}{tail(error.output[steps[-1].end() :])}"


def local_images() -> set[str]:
    """Names of all images in Docker that runs made."""
    listed = docker("images", "--filter", f"reference={NAMESPACE}/*", "--format", "{{.Repository}}:{{.Tag}}")
    return set(listed.split())
