"""The lists of courses that people keep in step by hand: the spawner's, the pre-puller's, and the build jobs'.

The first two are taken from what is deployed; build jobs are no part of it, so their list is a checkout's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from fixtures.infrastructure import NO_PROGRAM
from harness.courses.consistency import differences, job_faults
from harness.plan.contract import COURSE_REPOSITORY
from harness.plan.plan import Plan
from harness.plan.sources.ol_infrastructure import OlInfrastructure


@pytest.fixture(scope="session")
def checkout(plan: Plan) -> OlInfrastructure:
    if not plan.ol_infrastructure:
        pytest.skip(NO_PROGRAM)
    return plan.ol_infrastructure


@pytest.fixture(scope="session")
def pulled(pre_pulled: set[str]) -> set[str]:
    """Courses that the release pre-pulls."""
    return {image.removeprefix(f"{COURSE_REPOSITORY}:") for image in pre_pulled}


@pytest.fixture(scope="session")
def known(checkout: OlInfrastructure, pulled: set[str], known_among: Callable[[Collection[str]], set[str]]) -> set[str]:
    """Courses of any list that get their own image of the deployed spawner."""
    return known_among(sorted(checkout.built | pulled))


def test_every_course_is_in_all_three(checkout: OlInfrastructure, known: set[str], pulled: set[str]) -> None:
    """Every course is known to the deployed spawner, is pre-pulled, and has a build job."""
    found = differences(known, pulled, checkout.built)
    assert not found, "\n".join(found)


def test_what_the_checkout_lists_is_deployed(checkout: OlInfrastructure, known: set[str], pulled: set[str]) -> None:
    """Every course that the program pre-pulls opens its own image and is pre-pulled."""
    listed = checkout.pre_pulled
    assert not listed - known, f"pre-pulled by the program, and their links open another image: {listed - known}"
    assert not listed - pulled, f"in the program's list, and not pre-pulled: {sorted(listed - pulled)}"


def test_build_jobs_are_sound(checkout: OlInfrastructure) -> None:
    """Every build job has something to build from, and a name and a repository of its own."""
    found = job_faults(checkout.build_jobs)
    assert not found, "\n".join(found)
