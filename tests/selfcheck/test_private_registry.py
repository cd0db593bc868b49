"""The private registry: its content, its login, and the agreement with ECR."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.base import http
from harness.base.shell import CommandError
from harness.cluster.kind import Cluster
from harness.plan.contract import COURSE_REPOSITORY, REPOSITORY
from harness.services.aws import Aws
from harness.services.registry import Registry


def test_pull_without_credentials_is_refused(cluster: Cluster, on_node: Callable[..., str], registry: Registry) -> None:
    """The private registry refuses a pull without credentials, from the machine and from a node."""
    tag = min(registry.tags())
    answer = http.get(f"http://{registry.address}/v2/{REPOSITORY}/manifests/{tag}", timeout=5)
    assert answer.status_code == 401, f"expected 401 without credentials, found {answer.status_code}"
    anonymous = f"{registry.location}/{REPOSITORY}:{tag}"
    with pytest.raises(CommandError) as refused:
        on_node(cluster.control_plane, "ctr", "images", "pull", "--plain-http", anonymous)
    output = refused.value.output
    assert "401" in output or "no basic auth" in output, f"the pull failed, but not for want of credentials: {output}"


def test_node_pulls_by_production_name(cluster: Cluster, on_node: Callable[..., str], registry: Registry) -> None:
    """With ECR's token, a node pulls a course image by the name it has in production."""
    image = f"{COURSE_REPOSITORY}:{min(registry.tags())}"
    # Without unpacking it: in a namespace of its own nothing is.
    ctr = ["ctr", "--namespace", "harness", "content", "fetch", "--hosts-dir", "/etc/containerd/certs.d"]
    output = on_node(cluster.control_plane, *ctr, image)
    digest = registry.digest(image.rpartition(":")[2])
    assert digest in output, f"expected {image} as {digest}, and the pull printed: {output}"


def test_ecr_knows_what_was_pushed(aws: Aws, registry: Registry) -> None:
    """ECR's describe_images gives, for every pushed tag, the digest that the registry serves."""
    known = aws.image_digests()
    served = {tag: registry.digest(tag) for tag in registry.tags()}
    assert known == served, f"ECR and the registry disagree about {sorted(known.items() ^ served.items())}"
