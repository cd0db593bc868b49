"""The private registry that stands in for ECR: it wants credentials, and ECR's authorisation token is what opens it.

Inside the nodes, production's image names resolve to it, so that chart, values and spawner run as they are.
"""

from __future__ import annotations

import base64
import functools
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import httpx

from harness.artifacts.oci import MANIFEST, OciImage, link_file
from harness.base import http
from harness.base.errors import HarnessError
from harness.base.wait import NotYet, seldom, wait_until
from harness.host import docker
from harness.plan.contract import ECR, REPOSITORY
from harness.services.aws import Aws

PORT = 5000


@dataclass(frozen=True)
class Registry:
    """A distribution registry in a container on the run's network."""

    name: str
    network: str
    state: Path
    aws: Aws
    pushed: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)
    """Repositories and blobs that are there, and need not be asked for again."""

    @classmethod
    def named(cls, run_name: str, state: Path, aws: Aws) -> Registry:
        return cls(name=f"{run_name}-registry", network=run_name, state=state, aws=aws)

    def start(self, image: str, images: Mapping[str, OciImage]) -> None:
        """Start the registry, opened by the token that ECR hands out; returns when it answers.

        Needs moto running.

        Args:
            images: by name, what is going to be pushed. Their blobs lie in its storage from the start, where they cost
                nothing, and a push finds them there.
        """
        storage = self.state / "registry"
        # A run that was killed, or a cluster that is made anew, leaves what was there.
        shutil.rmtree(storage, ignore_errors=True)
        storage.mkdir()
        for name, layout in images.items():
            _store_blobs(storage / "docker/registry/v2", split(name)[1], layout)
        user, password = self.aws.registry_login()
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        htpasswd = self.state / "htpasswd"
        htpasswd.write_text(f"{user}:{hashed}\n")
        docker.start(
            self.name,
            image,
            owner=self.network,
            network=self.network,
            port=PORT,
            env={
                "REGISTRY_HTTP_ADDR": f":{PORT}",
                "REGISTRY_AUTH": "htpasswd",
                "REGISTRY_AUTH_HTPASSWD_REALM": "ECR",
                "REGISTRY_AUTH_HTPASSWD_PATH": "/htpasswd",
                "OTEL_TRACES_EXPORTER": "none",
            },
            volumes={htpasswd: "/htpasswd:ro", storage: "/var/lib/registry"},
            # What it writes is the run's, to remove.
            user=f"{os.getuid()}:{os.getgid()}",
        )

        def answers() -> bool | NotYet:
            try:
                status = http.get(f"http://{self.address}/v2/", timeout=5).status_code
            except httpx.TransportError as error:
                return NotYet(f"{str(error) or type(error).__name__}")
            return status == 401 or NotYet(f"status {status} without credentials, expected 401")

        wait_until("the private registry", answers, timeout=30, fail_if=seldom(lambda: docker.stopped(self.network)))

    @functools.cached_property
    def address(self) -> str:
        """Loopback address of the registry, as host:port."""
        return docker.published(self.name, PORT)

    def resolve_in_nodes(self, certs: Path, hosts: Iterable[str], mirrors: Mapping[str, str]) -> None:
        """Make image names resolve inside the nodes.

        Args:
            certs: the directory that the nodes see as /etc/containerd/certs.d.
            hosts: registries whose names lead here, and nowhere else: a real account must never be asked.
            mirrors: other registries by name, and the location that serves what they publish.
        """
        user, password = self.aws.registry_login()
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        here = f"http://{self.name}:{PORT}"
        for host in hosts:
            header = f'[host."{here}".header]\n  Authorization = ["Basic {secret}"]\n'
            _write_hosts(certs, host, here, header)
        for host, location in mirrors.items():
            _write_hosts(certs, host, location if "://" in location else f"https://{location}", "")

    def push(self, layout: OciImage, repository: str, *tags: str) -> str:
        """Push an image under its tags and return its digest; what the registry has already is not sent again.

        A push to the course repository makes ECR know the image, as a push to the real one does.
        """
        for digest, file in layout.blobs():
            self._push_blob(repository, digest, file)
        for tag in tags:
            headers = {"Content-Type": layout.descriptor["mediaType"]}
            place = f"{repository}/manifests/{tag}"
            self._http.put(place, content=layout.manifest, headers=headers).raise_for_status()
        if repository == REPOSITORY:
            for tag in tags:
                self._tell_ecr(layout, tag)
        return layout.digest

    def _tell_ecr(self, layout: OciImage, tag: str) -> None:
        try:
            self.aws.ecr.put_image(
                repositoryName=REPOSITORY,
                imageManifest=layout.manifest,
                imageManifestMediaType=layout.descriptor["mediaType"],
                imageTag=tag,
                # moto computes one of its own otherwise; the registry's is what a node pulls.
                imageDigest=layout.digest,
            )
        except self.aws.ecr.exceptions.ImageAlreadyExistsException:
            return

    def _push_blob(self, repository: str, digest: str, file: Path) -> None:
        """Push a blob, unless it is there (OCI distribution specification, pushing blobs)."""
        if (repository, digest) in self.pushed:
            return
        if not self._http.head(f"{repository}/blobs/{digest}").is_success:
            self._upload(repository, digest, file)
        self.pushed.add((repository, digest))

    def _upload(self, repository: str, digest: str, file: Path) -> None:
        """Upload a blob in one piece."""
        session = self._http.post(f"{repository}/blobs/uploads/").raise_for_status()
        place = httpx.URL(session.headers["Location"]).copy_merge_params({"digest": digest})
        with file.open("rb") as content:
            headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
            self._http.put(place, content=iter(lambda: content.read(1 << 20), b""), headers=headers).raise_for_status()

    def remove(self, tag: str) -> None:
        """Take a course image's tag away, as `aws ecr batch-delete-image` does; its blobs stay."""
        # A registry deletes tags only if it is started for it, and then not by their names.
        tags = self.state / "registry/docker/registry/v2/repositories" / REPOSITORY / "_manifests/tags"
        shutil.rmtree(tags / tag, ignore_errors=True)
        self.aws.ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}])

    def tags(self, repository: str = REPOSITORY) -> set[str]:
        """Tags of a repository."""
        answer = self._http.get(f"{repository}/tags/list").raise_for_status()
        return set(answer.json()["tags"] or ())

    def digest(self, tag: str, repository: str = REPOSITORY) -> str:
        """Digest that a tag stands for now.

        Raises:
            HarnessError: the registry does not have the tag.
        """
        answer = self._http.head(f"{repository}/manifests/{tag}", headers={"Accept": MANIFEST})
        if answer.is_error:
            raise HarnessError(f"The registry has no image {ECR}/{repository}:{tag}: {answer.status_code}")
        return str(answer.headers["Docker-Content-Digest"])

    @functools.cached_property
    def _http(self) -> httpx.Client:
        """Client of the registry's API, opened by ECR's token, within 120 s a call."""
        return http.Client(base_url=f"http://{self.address}/v2/", auth=self.aws.registry_login(), timeout=120)


def split(image: str) -> tuple[str, str, str]:
    """Host, repository and tag of an image's full name."""
    host, _, rest = image.partition("/")
    repository, _, tag = rest.rpartition(":")
    return host, repository, tag


def _store_blobs(root: Path, repository: str, layout: OciImage) -> None:
    """Put an image's blobs where a registry keeps those of a repository (distribution, registry/storage/paths.go)."""
    for digest, file in layout.blobs():
        algorithm, _, sum_ = digest.partition(":")
        link_file(file, root / "blobs" / algorithm / sum_[:2] / sum_ / "data")
        link = root / "repositories" / repository / "_layers" / algorithm / sum_ / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)


def _write_hosts(certs: Path, host: str, location: str, header: str) -> None:
    directory = certs / host
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.toml").write_text(
        f'server = "{location}"\n[host."{location}"]\n  capabilities = ["pull", "resolve"]\n{header}'
    )
