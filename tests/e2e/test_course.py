"""Somebody's course, taken to its end: the notebooks of each --course, opened by their links and run as learners do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.courses.notebook_check import NotebookCheck
from harness.plan.course_repository import Repository


@pytest.mark.timeout(0)  # Each cell has its own limit, --cell-timeout.
def test_learners_can_run_the_notebook(
    try_as_learner: Callable[[Repository, str], NotebookCheck], given_course: Repository, given_notebook: str
) -> None:
    """Learners open the course's notebook by its link, run all of it within production's memory, and save it."""
    trial = try_as_learner(given_course, given_notebook)
    if trial.told_by:
        pytest.skip(f"{given_course.tag} has notebooks for the kernel {trial.no_kernel}, see {trial.told_by}")
    if trial.trouble:
        pytest.fail(trial.explanation, pytrace=False)


@pytest.mark.timeout(0)  # Each wait has its own limit.
def test_page_shows_what_the_notebook_makes(
    open_page: Callable[[Repository], NotebookCheck], given_course: Repository
) -> None:
    """A page of the course opens in a browser, shows its widgets, and lacks none of its parts."""
    trial = open_page(given_course)
    if trial.page_troubles:
        pytest.fail(f"{trial.course}, {trial.notebook}: " + "\n".join(trial.page_troubles), pytrace=False)
