"""How a course comes to be, and is kept: the steps that authors are given, one by one, and the mistakes made at them.

Step 1 is a repository from the template, 2 the author's own notebooks, 3 the lists that have to know the course, 4 the
build job, 5 the link, 6 a run of every notebook. An update is a push and the same job again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from fixtures.session import asks_for, attribute_to_test
from harness.base.errors import HarnessError
from harness.base.signals import threads
from harness.base.timeline import Timeline
from harness.charts.chart import SPAWNER_KEY, Release
from harness.cluster.kind import Cluster
from harness.courses.author_clone import Clone
from harness.courses.build_job import run_job
from harness.courses.consistency import differences, job_faults
from harness.courses.notebook_check import MemoryQuota, NotebookCheck, check_notebook
from harness.deployment import changes
from harness.deployment.model import Deployment
from harness.people.journey import Page, ServerProbe, SpawnError
from harness.people.link import Link, LinkError, NoNotebookError, WrongImageError
from harness.people.student import Student
from harness.plan.course_repository import Repository, describe
from harness.plan.hubs import STUDENT
from harness.plan.plan import Plan
from harness.plan.sources.new_courses import spawner_with
from harness.program.pipelines import BuildJob
from harness.report.run_record import Record
from harness.scenarios.ahead import Sent
from harness.scenarios.user_cleanup import UserCleanup
from harness.services.aws import Aws
from harness.services.registry import Registry

COURSE, OTHER, ELSEWHERE, LACKING = "bicycles.1", "bicycles.2", "bicycles.3", "bicycles.4"
UNLISTED, UNPULLED, UNBUILT = "unlisted", "unpulled", "unbuilt"
KNOWN = dict.fromkeys((COURSE, OTHER, ELSEWHERE, LACKING, UNPULLED, UNBUILT), False)
PRE_PULLED = (COURSE, OTHER, ELSEWHERE, LACKING, UNLISTED, UNBUILT)

pytestmark = [
    pytest.mark.timeout(900),  # a build takes as long as the package index does
    pytest.mark.touches("the students' release"),
]

Mistake = Sent[Student, Any]
Try = Callable[[Repository, str], NotebookCheck]
Build = Callable[[str, Path], Repository]


@dataclasses.dataclass(frozen=True)
class Learner:
    """A learner who follows links to courses whose author made a mistake, and that author."""

    author: Clone
    build: Build
    follow: Callable[[Link], Page]
    run: Callable[[Link], NotebookCheck]


def link_to_unlisted(learner: Learner) -> Page:
    """Open a course that the spawner does not know."""
    return learner.follow(Link(UNLISTED, "welcome.ipynb"))


def link_to_unbuilt(learner: Learner) -> Page:
    """Open a course whose image was never built."""
    return learner.follow(Link(UNBUILT))


def link_to_notebooks_elsewhere(learner: Learner) -> Page:
    """Open a notebook that the Dockerfile copies to another place."""
    dockerfile = (learner.author.path / "Dockerfile").read_text()
    learner.author.write("Dockerfile", dockerfile.replace(". ${HOME}/", ". /opt/course/"))
    learner.author.push("Put the course elsewhere")
    learner.build(ELSEWHERE, learner.author.origin)
    return learner.follow(Link(ELSEWHERE, "lectures/lecture1/first_look.ipynb"))


def link_to_anothers_repository(learner: Learner) -> Page:
    """Open a notebook of a course that was built from the repository of another."""
    # With a version of its own: two courses with the same commit push their images under one further tag.
    learner.author.push("Begin another course")
    learner.build(OTHER, learner.author.origin)
    return learner.follow(Link(OTHER, "tandems.ipynb"))


def run_without_a_package(learner: Learner) -> NotebookCheck:
    """Run a notebook that imports what its course's requirements.txt lacks."""
    learner.author.write("needs.ipynb", cells("1 + 1", "import a_package_nobody_has"))
    learner.author.push("Use a package")
    learner.build(LACKING, learner.author.origin)
    return learner.run(Link(LACKING, "needs.ipynb"))


MISTAKES: Mapping[str, Callable[[Learner], Page | NotebookCheck]] = {
    "test_missing_from_the_spawner": link_to_unlisted,
    "test_missing_image": link_to_unbuilt,
    "test_notebooks_not_in_the_home_directory": link_to_notebooks_elsewhere,
    "test_missing_dependency": run_without_a_package,
    "test_anothers_repository": link_to_anothers_repository,
}
"""What leads a learner to each mistake, by its test."""


@pytest.fixture
def author(plan: Plan, tmp_path: Path) -> Clone:
    """An author who has a repository of a course, made from one of the examples."""
    return begin_course(plan, tmp_path)


def begin_course(plan: Plan, directory: Path) -> Clone:
    return Clone.begin(plan.checkout / "courses/data_science_example", directory)


@pytest.fixture(scope="module")
def listed(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Step 3: the students' hub, its spawner told of courses.

    Its pre-puller is not, whose list is compared all the same: it would start anew, here and at the end, with a
    container for each course on each node, and no learner of a course waits for it.
    """
    own = deployment.releases[STUDENT]
    spawner = tmp_path_factory.mktemp("listed") / "dynamicImageConfig.py"
    spawner.write_text(spawner_with(deployment.plan.spawner, KNOWN))
    told = dataclasses.replace(own, set_files={**own.set_files, SPAWNER_KEY: spawner})
    with changes.changed(deployment, STUDENT, told):
        yield told


@pytest.fixture
def build(deployment: Deployment, aws: Aws, registry: Registry, tmp_path: Path) -> Build:
    """Runs the build job of a course on the repository at a place."""
    return functools.partial(run_build, deployment, aws, registry, tmp_path)


def run_build(
    deployment: Deployment, aws: Aws, registry: Registry, directory: Path, course: str, origin: Path
) -> Repository:
    job = BuildJob(course, repo_uri=str(origin))
    return run_job(job, directory / "job", aws, deployment.builder, registry)


@pytest.fixture(scope="module")
def mistakes(
    listed: Release,
    deployment: Deployment,
    aws: Aws,
    registry: Registry,
    server_probe: ServerProbe,
    departures: UserCleanup,
    timeline: Timeline,
    memory_quota: MemoryQuota,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Mapping[str, Mistake]]:
    """The learners who meet the mistakes that tests ask for, side by side, and beside those of the new course."""

    def meet(mistake: Callable[[Learner], Page | NotebookCheck], student: Student) -> Page | NotebookCheck:
        directory = tmp_path_factory.mktemp(mistake.__name__)
        build = functools.partial(run_build, deployment, aws, registry, directory)
        follow = functools.partial(Link.follow, student=student, cluster=deployment.cluster, registry=registry)

        def run(link: Link) -> NotebookCheck:
            found = NotebookCheck(link.course, link.notebook, memory_quota)
            check_notebook(found, link, student, deployment.cluster, registry, deployment.plan.cell_timeout)
            return found

        return mistake(Learner(begin_course(deployment.plan, directory), build, follow, run))

    asked = {item.originalname for item in request.session.items if isinstance(item, pytest.Function)}
    students = {test: Student(deployment.student, server_probe, timeline) for test in MISTAKES if test in asked}
    with threads(len(MISTAKES)) as pool:
        yield {test: Sent(student, pool.submit(meet, MISTAKES[test], student)) for test, student in students.items()}
    for student in students.values():
        student.close()
        if student.name:
            departures.add(deployment.student, student.name)


@pytest.fixture(scope="module")
def known_ahead(
    listed: Release, known_among: Callable[..., set[str]], request: pytest.FixtureRequest
) -> Iterator[Future[set[str]] | None]:
    """The courses that the spawner is told of and knows, asked beside the learners of the new course."""
    asked = any(asks_for(item, "known_once_listed") for item in request.session.items)
    with threads(1) as pool:
        yield pool.submit(known_among, sorted({*KNOWN, *PRE_PULLED}), listed) if asked else None


@pytest.fixture
def known_once_listed(known_ahead: Future[set[str]]) -> set[str]:
    """The courses, of those that a list has, that the spawner knows."""
    return known_ahead.result()


@pytest.fixture
def mistake(mistakes: Mapping[str, Mistake], record: Record, request: pytest.FixtureRequest) -> Iterator[Mistake]:
    """The learner who meets the mistake that the test is about."""
    learner = mistakes[request.node.originalname]
    attribute_to_test(request, learner.person)
    yield learner
    request.node.add_report_section("call", "journey", str(learner.person.journey))
    record.add(learner.person.journey, request.node.nodeid)


def cells(*sources: str) -> str:
    """A notebook with these code cells; the same bytes each time, so that Docker knows what it has built."""
    notebook = new_notebook(cells=[new_code_cell(each, id=f"cell-{number}") for number, each in enumerate(sources)])
    return str(nbformat.writes(notebook))


@pytest.mark.usefixtures("mistakes", "known_ahead")
def test_new_course(
    author: Clone, build: Build, try_as_learner: Try, registry: Registry, aws: Aws, cluster: Cluster,
    visit: Callable[[], Student],
) -> None:  # fmt: skip
    """A new course is built from its repository, and learners can open and run every notebook of it; then an update."""
    course = build(COURSE, author.origin)
    version = describe(course.path)
    assert course.tags == (COURSE, version), f"the image is pushed under {course.tags}"
    digests = aws.image_digests()
    for tag in course.tags:
        assert digests.get(tag) == registry.digest(tag), f"ECR does not know {tag} as the registry does"
    with threads(len(course.notebooks)) as learners:
        trials = list(learners.map(lambda notebook: try_as_learner(course, notebook), course.notebooks))
    troubles = [trial.explanation for trial in trials if trial.trouble]
    link = f"https://nb.learn.mit.edu/tmplogin?course={COURSE}&notebook=lectures%2Flecture1%2Ffirst_look.ipynb"
    assert link in [trial.url for trial in trials], f"the links to hand out are {[trial.url for trial in trials]}"
    assert len(trials) == 3, f"the course has the notebooks {course.notebooks}"
    assert not troubles, "\n\n".join(troubles)

    # An update: pushed, built, and with the next learner; a notebook that moved has another link.
    author.git("mv", "lectures/lecture2", "lectures/week2")
    author.write("news.ipynb", cells("6 * 7"))
    author.push("Tell the news")
    updated = build(COURSE, author.origin)
    assert registry.digest(COURSE) != digests[COURSE], "after the update the registry has the image of before"
    assert registry.digest(version) == digests[version], f"the update changed {version}, which is to stay for ever"
    news = try_as_learner(updated, "news.ipynb")
    assert not news.trouble, news.explanation
    moved = r"lectures/week2/least_squares\.ipynb: /tmplogin\?course=bicycles\.1&notebook=lectures%2Fweek2%2Fleast_sq"
    with pytest.raises(NoNotebookError, match=moved):
        Link(COURSE, "lectures/lecture2/least_squares.ipynb").follow(visit(), cluster, registry)

    # A build that fails leaves live what was.
    live = registry.digest(COURSE)
    author.write("requirements.txt", "no-such-package-at-all\n")
    author.push("Ask for what there is not")
    with pytest.raises(HarnessError, match=rf"course {COURSE} cannot be built. It fails at: RUN pip install"):
        build(COURSE, author.origin)
    assert registry.digest(COURSE) == aws.image_digests()[COURSE] == live, "a build that failed changed what is live"


@pytest.mark.usefixtures("listed")
class TestMistakes:
    """Each ends in a failure that says what the mistake was."""

    def test_missing_from_a_list(self, known_once_listed: set[str]) -> None:
        """A course that is missing from a list is named, with the list and what comes of it."""
        said = differences(known_once_listed, PRE_PULLED, [COURSE, OTHER, ELSEWHERE, LACKING, UNLISTED, UNPULLED])
        assert said == [
            f"{UNBUILT} is pre-pulled and has no build job: its image is never updated",
            f"{UNLISTED} is pre-pulled and unknown to the spawner: its links open base_authoring_image",
            f"{UNPULLED} is known to the spawner and never pre-pulled: its first student on a node waits for the pull",
        ]

    def test_missing_from_the_spawner(self, mistake: Mistake) -> None:
        """A course that the spawner does not know opens the default image, and the failure names the list."""
        with pytest.raises(
            WrongImageError, match=f"opened the image base_authoring_image, not {UNLISTED}.*known cours"
        ):
            _ = mistake.page

    def test_missing_image(self, mistake: Mistake) -> None:
        """A course whose image was never built is a failure at once that names the image."""
        with pytest.raises(SpawnError, match=rf"ImagePull.*ol-course-notebooks:{UNBUILT}"):
            _ = mistake.page

    def test_notebooks_not_in_the_home_directory(self, mistake: Mistake) -> None:
        """Notebooks that the Dockerfile copies elsewhere are found there, and the failure says what to change."""
        elsewhere = r"The image has it as /opt/course/lectures/lecture1/first_look\.ipynb: have the Dockerfile copy it"
        with pytest.raises(NoNotebookError, match=elsewhere):
            _ = mistake.page

    def test_missing_dependency(self, mistake: Mistake) -> None:
        """A package that requirements.txt lacks is named, with the cell that imports it."""
        trial: NotebookCheck = mistake.page
        expected = "cell 2: ModuleNotFoundError: No module named 'a_package_nobody_has' (is it in requirements.txt?)"
        assert trial.trouble == expected, trial.explanation

    def test_anothers_repository(self, mistake: Mistake) -> None:
        """Two courses with each other's repository: the failure says what the image has in place of the notebook."""
        other = r"has no file of that name. Notebooks in the learner's home directory: .*bootstrap\.ipynb"
        with pytest.raises(NoNotebookError, match=other):
            _ = mistake.page
        jobs = [BuildJob(COURSE, repo_uri="git@host:one"), BuildJob(OTHER, repo_uri="git@host:one")]
        assert "have one repo_uri, git@host:one" in "".join(job_faults(jobs))

    def test_link_that_is_not_encoded(self, visit: Callable[[], Student]) -> None:
        """A link with a bare & in a notebook's name does not open it, and the failure gives the link that does."""
        url = "/tmplogin?course=supervised_learning_fundamentals&notebook=practice/LogReg_&_CART.ipynb"
        page = visit().open(url)
        assert "/notebooks/" not in page.path, f"a link that is not encoded opened {page.path}"
        with pytest.raises(LinkError, match=r"the link is .*notebook=practice%2FLogReg_%26_CART\.ipynb"):
            Link.read(url)
