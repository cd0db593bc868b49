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
"""Images that a run builds are named NAMESPACE/artifact:key."""

STEP = re.compile(r"^Step \d+/\d+ : (?P<classic>.*)$|^ > \[[^\]]*\] (?P<buildkit>.*?):?$", re.MULTILINE)
"""Line with which the classic builder and BuildKit begin a step, or name the one that failed."""

NOISE = re.compile(
    r"(?:\x1b\[[0-9;]*m)* ---> Removed intermediate container.*\n"
    r"|^DEPRECATED: The legacy builder.*\n(?: {12}.*\n)*|\x1b\[[0-9;]*m",
    re.MULTILINE,
)
"""Colours, and the classic builder's lines about itself."""
COLLECTING = re.compile(r"^\s*Collecting (.+)$", re.MULTILINE)
FROM = re.compile(r"^(\s*FROM\s+(?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
DECLARED_BASE = ("$BASE_IMAGE", "${BASE_IMAGE}")


def on_base(dockerfile: str, base: str) -> tuple[str, list[str]]:
    """Return a Dockerfile with `base` in place of the images that it names, and the names of those.

    Its own stages stay, and so does the argument BASE_IMAGE, which the build is given.
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
    """Build a directory's Dockerfile with the machine's own network.

    Args:
        what: name of the image in messages; its tag by default.
        base: a local image to build on in place of those that the Dockerfile names; None to build it as it is.

    Raises:
        HarnessError: the Dockerfile does not build; the message has the step that failed and its last lines.
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
    """Explain why an image cannot be built: the step of its Dockerfile that failed, and its last lines."""
    output = NOISE.sub("", error.output)
    steps = list(STEP.finditer(output))
    if not steps:
        return f"{what} cannot be built.{tail(output) or f' {error}'}"
    last_step = output[steps[-1].end() :]
    # The error of a package that does not build does not name the package.
    package = COLLECTING.findall(last_step)[-1:] if "metadata-generation-failed" in last_step else []
    about = "".join(f"\n  | pip was at {each}" for each in package)
    return f"{what} cannot be built. It fails at: {steps[-1][1] or steps[-1][2]}{about}{tail(last_step)}"


def local_images() -> set[str]:
    """Return the names of all images in Docker that runs built."""
    listed = docker("images", "--filter", f"reference={NAMESPACE}/*", "--format", "{{.Repository}}:{{.Tag}}")
    return set(listed.split())
