"""Artifacts that others publish: images by `docker pull`, tools by download, from there or from a company's mirror."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from harness.artifacts.model import Artifacts
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError
from harness.base.signals import threads
from harness.host.docker import docker
from harness.plan.versions import Versions

LOOK = 3.0
"""Seconds in which the published places have to answer to be used."""
PLACES = {
    "docker.io": ["https://registry-1.docker.io/v2/"],
    "quay.io": ["https://quay.io/v2/"],
    "registry.k8s.io": ["https://registry.k8s.io/v2/"],
    "tools": ["https://dl.k8s.io/", "https://get.helm.sh/", "https://github.com/"],
}
"""What answers where a place can be reached: of a registry the page that says it is one, with 200, or with 401 to a
stranger (OCI distribution specification, end-1)."""
IMAGES = ("node", "registry", "moto", "postgres", "notebook")
TOOLS = ("kind", "kubectl", "helm")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Processors as Go names them, and with it all who publish these tools."""


def choose(how: str, mirrors: Mapping[str, str]) -> tuple[str, str]:
    """Decide between 'pull' and 'build', and say why. For 'auto' it looks, once and for 3 s at most.

    Args:
        mirrors: locations by the place whose content they serve: docker.io, quay.io, registry.k8s.io, tools.
    """
    if how != "auto":
        return how, "as asked for"
    pool = ThreadPoolExecutor(len(PLACES))
    looks = {name: pool.submit(_why_not, name, mirrors.get(name)) for name in PLACES}
    wait(looks.values(), timeout=LOOK)
    # Who has not answered by now is not waited for.
    pool.shutdown(wait=False, cancel_futures=True)
    refusals = {name: look.result() if look.done() else "no answer" for name, look in looks.items()}
    reasons = [f"{mirrors.get(name, name)} ({why})" for name, why in refusals.items() if why]
    if reasons:
        return "build", f"not reached: {', '.join(reasons)}"
    return "pull", f"{', '.join(dict.fromkeys(mirrors.get(name, name) for name in PLACES))} answer"


def _why_not(name: str, mirror: str | None) -> str:
    """Why a place, or the mirror of it, cannot be used; empty if it can."""
    if mirror is None:
        return next(filter(None, map(_ask, PLACES[name])), "")
    if name == "tools":
        return _ask(_url(mirror))
    # As with Docker, a registry named without a scheme may speak either.
    return _ask(f"{_url(mirror)}/v2/") and _ask(f"{_url(mirror, 'http')}/v2/")


def _ask(url: str) -> str:
    try:
        with httpx.stream("GET", url, timeout=LOOK) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return "" if status < 400 or status == 401 else f"status {status}"


def _url(location: str, scheme: str = "https") -> str:
    return location.rstrip("/") if "://" in location else f"{scheme}://{location.rstrip('/')}"


def pull(
    versions: Versions, mirrors: Mapping[str, str], cache: Path, steps: Steps, cold: Callable[[], None]
) -> Artifacts:
    """The artifacts as they are published, or as mirrors serve them; what is here already is not fetched again.

    Args:
        cold: called before anything is fetched.

    Raises:
        HarnessError: an image or a tool cannot be had, or a download is not what its checksum says.
    """
    images = {name: mirrored(versions.get("published.images", name), mirrors) for name in IMAGES}
    tools = {name: _tool(name, versions, cache) for name in TOOLS}
    missing_images = _missing_images(images)
    missing_tools = [name for name in TOOLS if not tools[name].exists()]
    if missing_images or missing_tools:
        cold()
    else:
        with steps.step("artifacts") as step:
            step.done("everything pulled before")
    for name in missing_tools:
        with steps.step(f"download {name}") as step:
            step.done(_download(name, versions, mirrors, tools[name]))
    with threads(2) as pool:
        list(pool.map(lambda name: _pull_image(images[name], steps), missing_images))
    return Artifacts(
        kind=tools["kind"],
        kubectl=tools["kubectl"],
        helm=tools["helm"],
        node_image=images["node"],
        registry=images["registry"],
        moto=images["moto"],
        postgres=images["postgres"],
        notebook=images["notebook"],
        images={},
    )


def mirrored(image: str, mirrors: Mapping[str, str]) -> str:
    """An image's name at the mirror of its registry, or its own."""
    host, _, rest = image.partition("/")
    return f"{mirrors[host].rpartition('://')[2].rstrip('/')}/{rest}" if host in mirrors else image


def _missing_images(images: Mapping[str, str]) -> list[str]:
    here = set(docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    return [name for name, image in images.items() if _familiar(image) not in here]


def _familiar(image: str) -> str:
    """An image's name as Docker lists it."""
    return image.removeprefix("docker.io/").removeprefix("library/")


def _pull_image(image: str, steps: Steps) -> None:
    with steps.step(f"pull {image}"):
        try:
            docker("pull", "--quiet", image, timeout=1800)
        except CommandError as error:
            raise HarnessError(f"{image} cannot be pulled: {error.output.strip() or error}") from error


def _tool(name: str, versions: Versions, cache: Path) -> Path:
    return cache / "tools" / f"{name}-{versions.get(f'published.tools.{name}', 'version')}" / name


def _download(name: str, versions: Versions, mirrors: Mapping[str, str], target: Path) -> str:
    described = versions.table(f"published.tools.{name}")
    system, machine = platform.system().lower(), platform.machine()
    url = described["url"].format(version=described["version"], system=system, machine=MACHINES.get(machine, machine))
    if "tools" in mirrors:
        url = f"{_url(mirrors['tools'])}/{url.partition('://')[2]}"
    content = _get(url)
    checksum = _get(url + described["checksum"]).decode().split()[0]
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise HarnessError(f"{url} is damaged: its sha256 is {found}, and {checksum} is published")
    if url.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            member = next(each for each in archive.getmembers() if each.isfile() and Path(each.name).name == name)
            unpacked = archive.extractfile(member)
            assert unpacked
            content = unpacked.read()
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="tmp-", dir=target.parent.parent) as scratch:
        file = Path(scratch, name)
        file.write_bytes(content)
        file.chmod(0o755)
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
    return url


def _get(url: str) -> bytes:
    try:
        answer = httpx.get(url, timeout=30, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HarnessError(f"{url} cannot be downloaded: {error}") from error
    if answer.is_error:
        raise HarnessError(f"{url} cannot be downloaded: {answer.status_code} {answer.reason_phrase}")
    return answer.content
