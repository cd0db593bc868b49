"""The build job of a course, step by step as production's pipeline runs it: get, build, put. A push is live at once."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from botocore.exceptions import ClientError

from harness.artifacts.oci import OciImage
from harness.base.errors import HarnessError
from harness.courses.consistency import job_faults
from harness.courses.images import CourseBuilder
from harness.plan.contract import REPOSITORY
from harness.plan.course_repository import Repository, check_out, read_repository
from harness.program.pipelines import BuildJob
from harness.services.aws import Aws
from harness.services.registry import Registry


def run_job(job: BuildJob, workspace: Path, aws: Aws, builder: CourseBuilder, registry: Registry) -> Repository:
    """Run a course's build job to its end; returns what it built.

    Args:
        workspace: directory for what the job gets.

    Raises:
        HarnessError: a step failed. Whatever is live under the course's tag stays so: only the last step changes it.
    """
    course = get(job, workspace, aws)
    put(course, build(course, builder), registry)
    return course


def get(job: BuildJob, workspace: Path, aws: Aws) -> Repository:
    """Get the course's repository, from Git or from an archive in S3: the first step.

    Raises:
        HarnessError: the job is wrong, there is no such repository or archive, or a course cannot be built of it.
    """
    if faults := job_faults([job]):
        raise HarnessError("\n".join(faults))
    into = workspace / job.image_name
    if job.repo_uri:
        check_out(job.repo_uri, into, workspace)
    else:
        _unpack(job, into, aws)
    return read_repository(into, job.image_name)


def build(course: Repository, builder: CourseBuilder) -> OciImage:
    """Build the image of a course: the second step.

    Raises:
        HarnessError: the Dockerfile does not build; the step that failed and its last lines are in the message.
    """
    return builder.images([course.tag], {course.tag: course.path})[course.tag]


def put(course: Repository, image: OciImage, registry: Registry) -> None:
    """Push the image under the course's tag, and under the version's own, which stays: the last step; ECR has both."""
    registry.push(image, REPOSITORY, *course.tags)


def _unpack(job: BuildJob, into: Path, aws: Aws) -> None:
    where = f"s3://{job.s3_bucket}/{job.s3_object_path}"
    with tempfile.TemporaryFile() as archive:
        try:
            aws.s3.download_fileobj(job.s3_bucket or "", job.s3_object_path or "", archive)
        except ClientError as error:
            raise HarnessError(f"The build job of {job.image_name} cannot get {where}: {error}") from error
        archive.seek(0)
        try:
            with tarfile.open(fileobj=archive) as packed:
                packed.extractall(into, filter="data")
        except tarfile.TarError as error:
            raise HarnessError(f"The build job of {job.image_name}: {where} cannot be unpacked: {error}") from error
