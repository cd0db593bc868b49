"""AWS, played by moto: ECR and S3 as account 610119931565, with throwaway keys and nobody's real account in reach."""

from __future__ import annotations

import base64
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from harness.base import http
from harness.base.wait import NotYet, seldom, wait_until
from harness.host import docker
from harness.plan.contract import ACCOUNT, REGION, REPOSITORY

if TYPE_CHECKING:
    import boto3
    from types_boto3_ecr.client import ECRClient
    from types_boto3_s3.client import S3Client

PORT = 5000


@dataclass(frozen=True)
class Aws:
    """A moto server in a container on the run's network."""

    name: str
    network: str

    @classmethod
    def named(cls, run_name: str) -> Aws:
        return cls(name=f"{run_name}-moto", network=run_name)

    def start(self, image: str) -> None:
        """Start moto and create the course repository; returns when it answers."""
        env = {"MOTO_ACCOUNT_ID": ACCOUNT}
        docker.start(
            self.name,
            image,
            owner=self.network,
            network=self.network,
            port=PORT,
            env=env,
            command=["-H", "0.0.0.0", "-p", str(PORT)],
        )

        def answers() -> bool | NotYet:
            try:
                return http.get(f"{self.endpoint}/moto-api/data.json", timeout=5).is_success or NotYet("an error page")
            except httpx.TransportError as error:
                return NotYet(f"{str(error) or type(error).__name__}")

        wait_until("moto", answers, timeout=60, fail_if=seldom(lambda: docker.stopped(self.network)))
        self.ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="MUTABLE")

    @functools.cached_property
    def endpoint(self) -> str:
        """Loopback URL of every AWS service."""
        return f"http://{docker.published(self.name, PORT)}"

    @functools.cached_property
    def ecr(self) -> ECRClient:
        return self._session().client("ecr", endpoint_url=self.endpoint)

    @functools.cached_property
    def s3(self) -> S3Client:
        return self._session().client("s3", endpoint_url=self.endpoint)

    def registry_login(self) -> tuple[str, str]:
        """User and password that open the private registry: ECR's authorisation token, decoded."""
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password

    def image_digests(self) -> dict[str, str]:
        """Digest of each tag of the course repository, as ECR's describe_images gives it."""
        pages = self.ecr.get_paginator("describe_images").paginate(repositoryName=REPOSITORY)
        images = [image for page in pages for image in page["imageDetails"]]
        return {tag: image["imageDigest"] for image in images for tag in image.get("imageTags", [])}

    def _session(self) -> boto3.Session:
        # Loaded when it is asked for: a run on a kept cluster often needs nothing of AWS, and loading takes its time.
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session(session_vars=_NOBODYS)
        session.set_default_client_config(
            Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, proxies={})
        )
        return boto3.Session(
            aws_access_key_id="throwaway",
            aws_secret_access_key="throwaway",
            region_name=REGION,
            botocore_session=session,
        )


# Where botocore looks for a profile and for settings: not in the caller's environment, and not in the caller's files.
_NOBODYS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
