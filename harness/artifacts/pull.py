"""Published artifacts: images by `docker pull`, tools by download, from upstream or from a company's mirror."""

from __future__ import annotations

import hashlib
import io
import platform
import ssl
import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from harness.artifacts.forecast import Durations, Forecast
from harness.artifacts.host_settings import certificates
from harness.artifacts.model import Artifacts
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError
from harness.base.signals import threads
from harness.host.docker import docker
from harness.plan.versions import Versions

PROBE_TIMEOUT = 3.0
"""Seconds that each upstream has to answer, or it is not used."""
DOWNLOAD_TIMEOUT = 30.0
"""Seconds without any data after which a download fails."""
UPSTREAMS = {
    "docker.io": ["https://registry-1.docker.io/v2/"],
    "quay.io": ["https://quay.io/v2/"],
    "registry.k8s.io": ["https://registry.k8s.io/v2/"],
    "tools": ["https://dl.k8s.io/", "https://get.helm.sh/", "https://github.com/"],
}
"""Pages that answer where an upstream can be reached; a registry's with 200, or with 401 without credentials (OCI
distribution specification, end-1)."""
SIDE_BY_SIDE = 2
"""Images pulled at a time."""
TOOLS = ("kind", "kubectl", "helm")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Processors by their names in Go, which the addresses of these tools use."""
FAILURES = (httpx.HTTPError, httpx.InvalidURL)


def choose(how: str, mirrors: Mapping[str, str]) -> tuple[str, str]:
    """Decide between 'pull' and 'build', and give the reason; 'auto' probes all upstreams, for 3 s at most.

    Args:
        mirrors: locations by the upstream whose content they serve: docker.io, quay.io, registry.k8s.io, tools.
    """
    if how != "auto":
        return how, "as asked for"
    pool = ThreadPoolExecutor(len(UPSTREAMS))
    probes = {name: pool.submit(_why_unreachable, name, mirrors.get(name)) for name in UPSTREAMS}
    wait(probes.values(), timeout=PROBE_TIMEOUT)
    # A probe without an answer by now counts as none.
    pool.shutdown(wait=False, cancel_futures=True)
    refusals = {name: probe.result() if probe.done() else "no answer" for name, probe in probes.items()}
    reasons = [f"{mirrors.get(name, name)} ({why})" for name, why in refusals.items() if why]
    if reasons:
        return "build", f"not reached: {', '.join(reasons)}"
    return "pull", f"{', '.join(dict.fromkeys(mirrors.get(name, name) for name in UPSTREAMS))} answer"


def _why_unreachable(name: str, mirror: str | None) -> str:
    """Return the reason why an upstream, or its mirror, cannot be used; empty if it can."""
    if mirror is None:
        return next(filter(None, map(_probe, UPSTREAMS[name])), "")
    if name == "tools":
        return _probe(_url(mirror))
    # As with Docker, a registry named without a scheme may speak either.
    return _probe(f"{_url(mirror)}/v2/") and _probe(f"{_url(mirror, 'http')}/v2/")


def _probe(url: str) -> str:
    try:
        with httpx.stream("GET", url, timeout=PROBE_TIMEOUT, verify=_trust()) as answer:
            status = answer.status_code
    except FAILURES as error:
        return type(error).__name__
    return "" if status < 400 or status == 401 else f"status {status}"


def _url(location: str, scheme: str = "https") -> str:
    return location.rstrip("/") if "://" in location else f"{scheme}://{location.rstrip('/')}"


def pull(
    versions: Versions,
    mirrors: Mapping[str, str],
    cache: Path,
    steps: Steps,
    cold: Callable[[], None],
    services: Collection[str] | None = None,
) -> Artifacts:
    """Pull the published artifacts, from upstream or from mirrors; those of an earlier run are used again.

    Args:
        cold: called before anything is pulled.
        services: names of the services whose images are among them; all of them unless given.

    Raises:
        HarnessError: an image or a tool cannot be pulled, or a download does not have its published checksum.
    """
    published = versions.services()
    wanted = published if services is None else services
    service_images = {name: mirrored(published[name].published, mirrors) for name in wanted}
    node = mirrored(versions.node_image(), mirrors)
    notebook = mirrored(versions.get("published.images", "notebook"), mirrors)
    tools = {name: _tool(name, versions, cache) for name in TOOLS}
    missing_images = _missing_images([node, *service_images.values(), notebook])
    missing_tools = [name for name in TOOLS if not tools[name].exists()]
    if missing_images or missing_tools:
        cold()
    else:
        with steps.step("artifacts") as step:
            step.done("everything pulled before")
    forecast = Forecast([*missing_tools, *missing_images], Durations(cache), at_a_time=SIDE_BY_SIDE)
    with steps.outlook(forecast.line):
        for name in missing_tools:
            with steps.step(f"download {name}") as step, forecast.timed(name):
                step.done(_download(name, versions, mirrors, tools[name]))
        with threads(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda image: _pull_image(image, steps, forecast), missing_images))
    return Artifacts(
        kind=tools["kind"],
        kubectl=tools["kubectl"],
        helm=tools["helm"],
        node_image=node,
        services=service_images,
        notebook=notebook,
        images={},
    )


def pull_service(name: str, versions: Versions, cache: Path, mirrors: Mapping[str, str], steps: Steps) -> str:
    """Pull the published image of one service, unless Docker has it, and return its name.

    Raises:
        HarnessError: it cannot be pulled.
    """
    image = mirrored(versions.services()[name].published, mirrors)
    for missing in _missing_images([image]):
        _pull_image(missing, steps, Forecast([missing], Durations(cache), at_a_time=1))
    return image


def pull_helm(versions: Versions, mirrors: Mapping[str, str], cache: Path, steps: Steps) -> Path:
    """Download Helm alone, unless the cache has it; needs no Docker.

    Raises:
        HarnessError: it cannot be downloaded, or does not have its published checksum.
    """
    helm = _tool("helm", versions, cache)
    if not helm.exists():
        with steps.step("download helm") as step:
            step.done(_download("helm", versions, mirrors, helm))
    return helm


def mirrored(image: str, mirrors: Mapping[str, str]) -> str:
    """Return the name of an image at the mirror of its registry, or its own name."""
    host, _, rest = image.partition("/")
    return f"{mirrors[host].rpartition('://')[2].rstrip('/')}/{rest}" if host in mirrors else image


def _missing_images(images: Iterable[str]) -> list[str]:
    both = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"
    here = set(docker("images", "--digests", "--format", both).split())
    return [image for image in images if _familiar(image) not in here]


def _familiar(image: str) -> str:
    """Return the name of an image as Docker lists it: of one with a digest, without its tag."""
    name, pinned, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    return f"{name.rpartition(':')[0]}@{digest}" if pinned else name


def _pull_image(image: str, steps: Steps, forecast: Forecast) -> None:
    with steps.step(f"pull {image}"), forecast.timed(image):
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
        answer = httpx.get(url, timeout=DOWNLOAD_TIMEOUT, follow_redirects=True, verify=_trust())
    except FAILURES as error:
        raise HarnessError(f"{url} cannot be downloaded: {str(error) or type(error).__name__}") from error
    if answer.is_error:
        raise HarnessError(f"{url} cannot be downloaded: {answer.status_code} {answer.reason_phrase}")
    return answer.content


def _trust() -> ssl.SSLContext:
    """Return the trust in the authorities of this machine, a company's own included."""
    return ssl.create_default_context(cafile=certificates())
