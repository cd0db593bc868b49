"""Our build job, and what it builds from: the template, the examples, an archive in S3."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.courses.author_clone import Clone
from harness.courses.build_job import run_job
from harness.deployment.model import Deployment
from harness.plan.course_repository import read_repository
from harness.plan.plan import Plan
from harness.program.pipelines import BuildJob
from harness.services.aws import Aws
from harness.services.registry import Registry

BASE_ARCHIVE = ("jupyter-courses-ci", "ol-jupyter-courses/admin/base_authoring_image.tar.gz")
"""Where production's job for the base image finds it."""

pytestmark = pytest.mark.timeout(900)  # a build takes as long as the package index does


@pytest.mark.parametrize("name", ["template", "data_science_example", "gpu_example"])
def test_template_and_examples_are_repositories(plan: Plan, name: str) -> None:
    """The template and the example courses are repositories from which a course can be built."""
    found = read_repository(plan.checkout / "courses" / name, name)
    assert found.notebooks, f"courses/{name} has no notebooks"
    assert found.needs_gpu == (name == "gpu_example"), (
        f"courses/{name} {'needs' if found.needs_gpu else 'needs no'} GPU"
    )


def test_base_image_is_built_from_its_archive(
    plan: Plan, deployment: Deployment, aws: Aws, registry: Registry, tmp_path: Path
) -> None:
    """The authors' base image is built from an archive in S3, and pushed under the one tag that its job has."""
    bucket, key = BASE_ARCHIVE
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(plan.checkout / "courses/template", arcname=".")
    aws.s3.create_bucket(Bucket=bucket)
    aws.s3.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())
    job = BuildJob("base_from_archive", s3_bucket=bucket, s3_object_path=key)
    course = run_job(job, tmp_path, aws, deployment.builder, registry)
    assert course.tags == ("base_from_archive",), f"an archive has no version, and is pushed under {course.tags}"
    known, served = aws.image_digests().get("base_from_archive"), registry.digest("base_from_archive")
    assert known == served, f"ECR knows base_from_archive as {known}, and the registry serves {served}"
    with pytest.raises(HarnessError, match=rf"cannot get s3://{bucket}/nothing"):
        run_job(dataclasses.replace(job, s3_object_path="nothing"), tmp_path, aws, deployment.builder, registry)


def test_blank_after_the_repository(
    plan: Plan, deployment: Deployment, aws: Aws, registry: Registry, tmp_path: Path
) -> None:
    """A blank at the end of a repository's address is named before anything is built."""
    author = Clone.begin(plan.checkout / "courses/data_science_example", tmp_path)
    job = BuildJob("bicycles.1", repo_uri=f"{author.origin} ")
    with pytest.raises(HarnessError, match=r"its repo_uri '.*origin\.git ' begins or ends with a blank"):
        run_job(job, tmp_path / "job", aws, deployment.builder, registry)
