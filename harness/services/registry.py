"""The private registry in ECR's place: it asks for credentials, and ECR's authorisation token is the one that it takes.

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
from typing import Self

import bcrypt
import httpx

from harness.artifacts.oci import CHUNK, MANIFEST, OciImage, link_file
from harness.base import http
from harness.base.errors import HarnessError
from harness.plan.contract import ECR, REPOSITORY
from harness.services.aws import Aws
from harness.services.container import Content, HttpService, Services


@dataclass(frozen=True)
class Registry(HttpService):
    """A distribution registry; moto has to run before it starts."""

    NAME = "registry"
    TITLE = "the private registry"
    WITHOUT_IT = "no image can be pulled"
    PORT = 5000
    HEALTH_PATH = "/v2/"
    HEALTHY_STATUS = 401
    """The status for a request without credentials."""

    aws: Aws
    _pushed: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)
    """Repositories and blobs that it is known to have."""

    @classmethod
    def create(cls, run: str, state: Path, secrets: Mapping[str, str], earlier: Services) -> Self:
        return cls(run, state, earlier[Aws])

    def launch(self, image: str, content: Content) -> None:
        """Start the container with the content's images in its storage already, which is faster than a push."""
        storage = self.state / "registry"
        # A run that was killed, or a cluster that is replaced, leaves its storage behind.
        shutil.rmtree(storage, ignore_errors=True)
        storage.mkdir()
        for name, oci_image in content.images.items():
            _store_blobs(storage / "docker/registry/v2", split(name)[1], oci_image)
        user, password = self.aws.registry_login()
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        htpasswd = self.state / "htpasswd"
        htpasswd.write_text(f"{user}:{hashed}\n")
        self.run_container(
            image,
            env={
                "REGISTRY_HTTP_ADDR": f":{self.PORT}",
                "REGISTRY_AUTH": "htpasswd",
                "REGISTRY_AUTH_HTPASSWD_REALM": "ECR",
                "REGISTRY_AUTH_HTPASSWD_PATH": "/htpasswd",
                "OTEL_TRACES_EXPORTER": "none",
            },
            volumes={htpasswd: "/htpasswd:ro", storage: "/var/lib/registry"},
            # The files that it writes belong to the user who removes them.
            user=f"{os.getuid()}:{os.getgid()}",
        )

    def resolve_in_nodes(self, certs: Path, hosts: Iterable[str], mirrors: Mapping[str, str]) -> None:
        """Make image names resolve inside the nodes.

        Args:
            certs: the directory that the nodes see as /etc/containerd/certs.d.
            hosts: registries whose names lead here and nowhere else: no request may reach a real account.
            mirrors: the mirror of each other registry, by the registry's name.
        """
        user, password = self.aws.registry_login()
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        here = f"http://{self.location}"
        for host in hosts:
            header = f'[host."{here}".header]\n  Authorization = ["Basic {secret}"]\n'
            _write_hosts(certs, host, here, header)
        for host, location in mirrors.items():
            _write_hosts(certs, host, location if "://" in location else f"https://{location}", "")

    def push(self, image: OciImage, repository: str, *tags: str) -> str:
        """Push an image under its tags and return its digest; blobs that the registry has are not sent again.

        A push to the course repository makes ECR know the image, as a push to the real one does.
        """
        for digest, file in image.blobs():
            self._push_blob(repository, digest, file)
        for tag in tags:
            headers = {"Content-Type": image.descriptor["mediaType"]}
            place = f"{repository}/manifests/{tag}"
            self._http.put(place, content=image.manifest, headers=headers).raise_for_status()
        if repository == REPOSITORY:
            for tag in tags:
                self._announce_to_ecr(image, tag)
        return image.digest

    def _announce_to_ecr(self, image: OciImage, tag: str) -> None:
        try:
            self.aws.ecr.put_image(
                repositoryName=REPOSITORY,
                imageManifest=image.manifest,
                imageManifestMediaType=image.descriptor["mediaType"],
                imageTag=tag,
                # Otherwise moto computes one of its own; a node pulls by the registry's.
                imageDigest=image.digest,
            )
        except self.aws.ecr.exceptions.ImageAlreadyExistsException:
            return

    def _push_blob(self, repository: str, digest: str, file: Path) -> None:
        """Upload a blob in one piece, unless the registry has it (OCI distribution specification, pushing blobs)."""
        if (repository, digest) in self._pushed:
            return
        if self._http.head(f"{repository}/blobs/{digest}").is_error:
            session = self._http.post(f"{repository}/blobs/uploads/").raise_for_status()
            place = httpx.URL(session.headers["Location"]).copy_merge_params({"digest": digest})
            headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
            with file.open("rb") as content:
                chunks = iter(lambda: content.read(CHUNK), b"")
                self._http.put(place, content=chunks, headers=headers).raise_for_status()
        self._pushed.add((repository, digest))

    def remove(self, tag: str) -> None:
        """Remove the tag of a course image, as `aws ecr batch-delete-image` does; its blobs stay."""
        # A registry deletes tags only if it is started for it, and then not by their names.
        tags = self.state / "registry/docker/registry/v2/repositories" / REPOSITORY / "_manifests/tags"
        shutil.rmtree(tags / tag, ignore_errors=True)
        self.aws.ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}])

    def tags(self, repository: str = REPOSITORY) -> set[str]:
        """Return the tags of a repository."""
        answer = self._http.get(f"{repository}/tags/list").raise_for_status()
        return set(answer.json()["tags"] or ())

    def digest(self, tag: str, repository: str = REPOSITORY) -> str:
        """Return the digest that a tag stands for now.

        Raises:
            HarnessError: the registry does not have the tag.
        """
        answer = self._http.head(f"{repository}/manifests/{tag}", headers={"Accept": MANIFEST})
        if answer.is_error:
            raise HarnessError(f"The registry has no image {ECR}/{repository}:{tag}: {answer.status_code}")
        return str(answer.headers["Docker-Content-Digest"])

    @functools.cached_property
    def _http(self) -> httpx.Client:
        """Client of the registry's API with ECR's token as its credentials, and 120 s a call."""
        return http.Client(base_url=f"{self.url}/v2/", auth=self.aws.registry_login(), timeout=120)


def split(image: str) -> tuple[str, str, str]:
    """Split the full name of an image into host, repository and tag."""
    host, _, rest = image.partition("/")
    repository, _, tag = rest.rpartition(":")
    return host, repository, tag


def _store_blobs(root: Path, repository: str, image: OciImage) -> None:
    """Put an image's blobs where a registry keeps a repository's (distribution, registry/storage/paths.go)."""
    for digest, file in image.blobs():
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
