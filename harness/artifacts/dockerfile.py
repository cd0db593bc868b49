"""Images from Dockerfiles, by way of `docker build`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.artifacts.host_settings import proxies
from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run, tail
from harness.host.docker import docker

NAMESPACE = "ol-jupyterhub-harness"
"""All images that a run makes are named NAMESPACE/artifact:key."""

STEP = re.compile(r"^Step \d+/\d+ : (?P<classic>.*)$|^ > \[[^\]]*\] (?P<buildkit>.*?):?$", re.MULTILINE)
"""How the classic builder and BuildKit name the step under way or the one that failed."""

NOISE = re.compile(
    r"(?:\x1b\[[0-9;]*m)* ---> Removed intermediate container.*\n"
    r"|^DEPRECATED: The legacy builder.*\n(?: {12}.*\n)*|\x1b\[[0-9;]*m",
    re.MULTILINE,
)
"""Colours, and what the classic builder says of itself."""
COLLECTING = re.compile(r"^\s*Collecting (.+)$", re.MULTILINE)
FROM = re.compile(r"^(\s*FROM\s+(?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
DECLARED_BASE = ("$BASE_IMAGE", "${BASE_IMAGE}")


def on_base(dockerfile: str, base: str) -> tuple[str, list[str]]:
    """A Dockerfile that is built on an image, whatever it names, and the images that it named.

    A stage of its own stays, and so does the argument BASE_IMAGE, which a build is given.
    """
    stages = {found[3].lower() for found in FROM.finditer(dockerfile) if found[3]}
    named: list[str] = []

    def replaced(found: re.Match[str]) -> str:
        image = found[2]
        if image.lower() in {*stages, "scratch"} or image in DECLARED_BASE:
            return found[0]
        named.append(image)
        return f"{found[1]}{base}" + (f" AS {found[3]}" if found[3] else "")

    return FROM.sub(replaced, dockerfile), named


def build_image(
    context: Path,
    *,
    tag: str,
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    what: str | None = None,
    base: str | None = None,
) -> None:
    """Build a directory's Dockerfile, with the network that the machine has.

    Args:
        what: how a message names the image; its tag otherwise.
        base: a local image to build on in place of those that the Dockerfile names; None to build it as it is.

    Raises:
        HarnessError: the Dockerfile does not build; the step that failed and its last lines are in the message.
    """
    options: list[str] = []
    for name, value in {**proxies(), **(build_args or {})}.items():
        options += ["--build-arg", f"{name}={value}"]
    for name, value in (labels or {}).items():
        options += ["--label", f"{name}={value}"]
    command = ["docker", "build", "--network", "host", "--force-rm", "--tag", tag, *options]
    with tempfile.TemporaryDirectory() as scratch:
        if base:
            dockerfile = Path(scratch, "Dockerfile")
            dockerfile.write_text(on_base((context / "Dockerfile").read_text(), base)[0])
            command += ["--file", str(dockerfile)]
        try:
            run([*command, str(context)], timeout=1800, what=f"docker build {tag}")
        except CommandError as error:
            raise HarnessError(explain(error, what or tag)) from error


def explain(error: CommandError, what: str) -> str:
    """Why an image could not be built: the step of its Dockerfile and the last lines before its end."""
    output = NOISE.sub("", error.output)
    steps = list(STEP.finditer(output))
    if not steps:
        return f"{what} cannot be built.{tail(output) or f' {error}'}"
    said = output[steps[-1].end() :]
    # A package that does not build says so at length, and not which it is.
    package = COLLECTING.findall(said)[-1:] if "metadata-generation-failed" in said else []
    about = "".join(f"\n  | pip was at {each}" for each in package)
    return f"{what} cannot be built. It fails at: {steps[-1][1] or steps[-1][2]}{about}{tail(said)}"


def local_images() -> set[str]:
    """Names of all images in Docker that runs made."""
    listed = docker("images", "--filter", f"reference={NAMESPACE}/*", "--format", "{{.Repository}}:{{.Tag}}")
    return set(listed.split())
