"""AWS, played by moto: ECR and S3 of production's account number, with throwaway keys and no real account in reach."""

from __future__ import annotations

import base64
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.plan.contract import ACCOUNT, REGION, REPOSITORY
from harness.services.container import Content, HttpService

if TYPE_CHECKING:
    import boto3
    from types_boto3_ecr.client import ECRClient
    from types_boto3_s3.client import S3Client


@dataclass(frozen=True)
class Aws(HttpService):
    """A moto server, with the course repository in its ECR."""

    NAME = "moto"
    TITLE = "moto"
    WITHOUT_IT = "AWS does not answer"
    PORT = 5000
    HEALTH_PATH = "/moto-api/data.json"

    def launch(self, image: str, content: Content) -> None:
        self.run_container(image, env={"MOTO_ACCOUNT_ID": ACCOUNT}, command=["-H", "0.0.0.0", "-p", str(self.PORT)])

    def set_up(self) -> None:
        self.ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="MUTABLE")

    @functools.cached_property
    def ecr(self) -> ECRClient:
        """Client of ECR."""
        return self._session().client("ecr", endpoint_url=self.url)

    @functools.cached_property
    def s3(self) -> S3Client:
        """Client of S3."""
        return self._session().client("s3", endpoint_url=self.url)

    def registry_login(self) -> tuple[str, str]:
        """Return user and password of the private registry: ECR's authorisation token, decoded."""
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password

    def image_digests(self) -> dict[str, str]:
        """Return the digest of each tag of the course repository, from ECR's describe_images."""
        pages = self.ecr.get_paginator("describe_images").paginate(repositoryName=REPOSITORY)
        images = [image for page in pages for image in page["imageDetails"]]
        return {tag: image["imageDigest"] for image in images for tag in image.get("imageTags", [])}

    def _session(self) -> boto3.Session:
        # Imported late, because it takes time, and a run on a kept cluster often needs nothing of AWS.
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session(session_vars=WITHOUT_THE_CALLERS_SETTINGS)
        session.set_default_client_config(
            Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, proxies={})
        )
        return boto3.Session(
            aws_access_key_id="throwaway",
            aws_secret_access_key="throwaway",
            region_name=REGION,
            botocore_session=session,
        )


WITHOUT_THE_CALLERS_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Variables of botocore that keep it from the caller's environment and from the caller's files."""
