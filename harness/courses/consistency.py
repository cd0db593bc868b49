"""The lists of courses that people keep in step by hand, compared wherever they come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from harness.plan.contract import DEFAULT_COURSE
from harness.program.pipelines import BuildJob

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""A valid image tag, from the distribution project's reference grammar."""


def differences(known: Collection[str], pre_pulled: Collection[str], built: Collection[str]) -> list[str]:
    """Return the differences of the lists of courses and their consequences, a sentence each, sorted by course.

    Args:
        known: courses that the spawner knows.
        pre_pulled: courses that the pre-puller pulls.
        built: courses that have a build job.
    """
    troubles = []
    for course in sorted({*known, *pre_pulled, *built}):
        if course not in known:
            there = "pre-pulled" if course in pre_pulled else "built"
            troubles.append(f"{course} is {there} and unknown to the spawner: its links open {DEFAULT_COURSE}")
        if course not in pre_pulled:
            there = "known to the spawner" if course in known else "built"
            troubles.append(f"{course} is {there} and never pre-pulled: its first student on a node waits for the pull")
        if course not in built:
            there = "pre-pulled" if course in pre_pulled else "known to the spawner"
            troubles.append(f"{course} is {there} and has no build job: its image is never updated")
    return troubles


def job_faults(jobs: Iterable[BuildJob]) -> list[str]:
    """Return the faults of build jobs themselves, a sentence each.

    A repository's address may end in .git or not: both work, and name the same repository.
    """
    jobs = list(jobs)
    troubles = []
    for job in jobs:
        about = f"the build job of {job.image_name!r}" + (f" ({job.place})" if job.place else "")
        if not TAG.fullmatch(job.image_name):
            troubles.append(f"{about}: its image_name is no image tag (letters, digits, _ . - and at most 128 of them)")
        if job.repo_uri and job.repo_uri != job.repo_uri.strip():
            troubles.append(
                f"{about}: its repo_uri {job.repo_uri!r} begins or ends with a blank, as no repository's does"
            )
        if not (job.repo_uri or "").strip() and not (job.s3_bucket and job.s3_object_path):
            troubles.append(f"{about}: it has neither a repo_uri nor an s3_bucket with an s3_object_path to build from")
    for name, same in _shared(jobs, lambda job: job.image_name):
        lines = " and ".join(str(job.place) for job in same)
        troubles.append(
            f"the build jobs of {lines} have one image_name, {name}: only the pipeline that is set last stays"
        )
    for repository, same in _shared(jobs, lambda job: (job.repo_uri or "").strip().removesuffix(".git")):
        names = " and ".join(job.image_name for job in same)
        troubles.append(f"the build jobs of {names} have one repo_uri, {repository}: their images are the same")
    return troubles


def _shared(jobs: Iterable[BuildJob], key: Callable[[BuildJob], str]) -> list[tuple[str, list[BuildJob]]]:
    """Return the jobs that have a key in common, by that key."""
    by_key: dict[str, list[BuildJob]] = {}
    for job in jobs:
        by_key.setdefault(key(job), []).append(job)
    return [(shared, same) for shared, same in by_key.items() if shared and len(same) > 1]
