"""Which image a student gets: the course in the link decides, and nothing else does.

Every row of the table is put to the deployed spawner, inside the hub's own image and configuration. What only a real
server shows (pull, scheduling, one student's request in another's server) is seen with real servers, a class at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import pytest

from fixtures.target import AskSpawner
from harness.base.files import parse_python
from harness.charts.chart import Release
from harness.cluster.kind import Cluster
from harness.deployment.model import Deployment
from harness.hub.spawner_probe import Choice, Request
from harness.plan.contract import COURSE_REPOSITORY, CPU_COURSES, DEFAULT_COURSE, GPU_COURSES, KNOWN_COURSES
from harness.plan.hubs import AUTHORING
from harness.plan.plan import Plan
from harness.scenarios.classroom import ClassArrival, shared
from harness.services.registry import Registry

PLAIN, GPU_COURSE, TAG = "uai_source-uai.0", "uai_source-uai.1", "uai_source-uai.6"


@dataclass(frozen=True)
class Row:
    """A request, and what a person relies on to come of it.

    Attributes:
        page: the notebook's page, decoded; None for the server's own first page.
    """

    request: Request
    tag: str
    page: str | None = None
    gpu: bool = False

    def __str__(self) -> str:
        request = self.request
        if request.form is not None:
            return f"form {dict(request.form)}"
        if request.options is not None:
            return f"options {request.options}" + (f" with ?{request.query}" if request.query else "")
        return "no link" if request.query is None else f"?{request.query}"


def link(query: str, tag: str, page: str | None = None, *, gpu: bool = False) -> Row:
    return Row(Request(query), tag, page, gpu)


def notebook(written: str, page: str | None) -> Row:
    """A notebook of a known course, its name as a link writes it."""
    return link(f"course={PLAIN}&notebook={written}", PLAIN, page)


TABLE = [
    Row(Request(None), DEFAULT_COURSE),
    link("", DEFAULT_COURSE),
    link("course=", DEFAULT_COURSE),
    link("foo=1", DEFAULT_COURSE),
    *(link(f"course={course}", course, gpu=course in GPU_COURSES) for course in sorted(KNOWN_COURSES)),
    # However a course is written
    link("course=CLUSTERING_and_Descriptive_AI", "clustering_and_descriptive_ai"),
    link("course=%20uai_source-uai.0a%20", "uai_source-uai.0a"),
    link("course=+uai_source-uai.0a+", "uai_source-uai.0a"),
    link(f"course=nope&course={PLAIN}", PLAIN),
    link(f"course={PLAIN}&course=nope", DEFAULT_COURSE),
    link(f"Course={PLAIN}", DEFAULT_COURSE),
    link(f"courses={PLAIN}", DEFAULT_COURSE),
    # Courses that there are none of
    link("course=uai_source-uai.10", DEFAULT_COURSE),
    link("course=uai_source-uai.14", DEFAULT_COURSE),
    link("course=nope", DEFAULT_COURSE),
    link("course=nope&notebook=A.ipynb", DEFAULT_COURSE),
    link("notebook=A.ipynb", DEFAULT_COURSE),
    # Notebooks
    notebook("A.ipynb", "A.ipynb"),
    link(f"notebook=A.ipynb&course={PLAIN}", PLAIN, "A.ipynb"),
    notebook("A", None),
    notebook("A.txt", None),
    notebook("A.IPYNB", None),
    notebook("", None),
    notebook(".ipynb", ".ipynb"),
    notebook("Assignment_2_LogReg_%26_CART_%26_XGBoost.ipynb", "Assignment_2_LogReg_&_CART_&_XGBoost.ipynb"),
    notebook("LogReg_&_CART.ipynb", None),
    notebook("My%20Note.ipynb", "My Note.ipynb"),
    notebook("My+Note.ipynb", "My Note.ipynb"),
    notebook("sub%2Fdir%2FA.ipynb", "sub/dir/A.ipynb"),
    notebook("sub/dir/A.ipynb", "sub/dir/A.ipynb"),
    notebook("%C3%A9t%C3%A9.ipynb", "été.ipynb"),
    # Tags, which win over courses; those of courses, for a spawner that takes no others is a better one
    link(f"course={PLAIN}&tag={TAG}", TAG),
    link(f"course={GPU_COURSE}&tag={TAG}", TAG, gpu=True),
    link(f"tag={TAG.upper()}", TAG),
    link(f"tag={TAG}&notebook=A.ipynb", TAG, "A.ipynb"),
    link("tag=", DEFAULT_COURSE),
    # GPUs
    link(f"course={DEFAULT_COURSE}&needs_gpu=true", DEFAULT_COURSE, gpu=True),
    link(f"course={GPU_COURSE}&needs_gpu=", GPU_COURSE, gpu=True),
    link("needs_gpu=true", DEFAULT_COURSE),
    link("needs_gpu=", DEFAULT_COURSE),
    # The form, and the REST API
    Row(Request("", form={"course": [" UAI_SOURCE-UAI.ST1 "]}), "uai_source-uai.st1", gpu=True),
    Row(Request("", form={}), DEFAULT_COURSE),
    Row(Request("", options={"course": "UAI_SOURCE-UAI.ST1"}), "uai_source-uai.st1", gpu=True),
    Row(Request("", options={}), DEFAULT_COURSE),
    Row(Request("course=nope", options={"course": PLAIN}), DEFAULT_COURSE),
]
AUTHORS_TABLE = [
    link(f"course={PLAIN}", PLAIN),
    link(f"course={PLAIN}&tag={TAG}", TAG),
    link(f"course={DEFAULT_COURSE}&needs_gpu=true", DEFAULT_COURSE, gpu=True),
]
"""What an author who has logged in tries by a link, which the form has no fields for."""
a_class = pytest.mark.touches("all processors, for a minute")
HOSTILE = ["../../../etc/passwd.ipynb", "//evil.example/x.ipynb", "https://evil.example/x.ipynb", "%0d%0aX:1.ipynb"]


@pytest.fixture(scope="module")
def choices(ask_spawner: AskSpawner) -> Mapping[str, Choice]:
    """What the deployed spawner makes of every row, and of every hostile name."""
    rows = {str(row): row.request for row in TABLE}
    hostile = {name: Request(f"course={PLAIN}&notebook={name}") for name in HOSTILE}
    asked = {**rows, **hostile}
    return dict(zip(asked, ask_spawner(list(asked.values())), strict=True))


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_request_decides(choices: Mapping[str, Choice], row: Row) -> None:
    """A request gets the image, the first page and the GPU that it asks for, and no others."""
    found = choices[str(row)]
    assert not found.error, f"{row} ends in an error, where {row.tag} is expected: {found.error}"
    said = f"{row} gives {found}"
    if found.tag == DEFAULT_COURSE != row.tag:
        course = re.sub(r".*course=|[+&].*|%20", "", row.request.query or "") or row.tag
        pytest.fail(f"course {course} opened {DEFAULT_COURSE}: it is missing from the spawner's known courses ({row})")
    assert found.image == f"{COURSE_REPOSITORY}:{row.tag}", f"{said}; expected image {COURSE_REPOSITORY}:{row.tag}"
    page = found.default_url and unquote(found.default_url)
    expected = f"/notebooks/{row.page}" if row.page else first_page(choices)
    assert page == expected, f"{said}; expected page {expected or 'of its own choice'}"
    assert found.gpus == int(row.gpu), f"{said}; expected {int(row.gpu)} GPU, found {found.gpus}"
    assert found.on_gpu_node == row.gpu, f"{said}, and {'must' if row.gpu else 'must not'} be bound to the GPU node"


def test_authors_have_tag_and_gpu_by_a_link(
    choices: Mapping[str, Choice], ask_spawner: AskSpawner, releases: Mapping[str, Release]
) -> None:
    """On the authors' hub too, a link's tag decides the image, and needs_gpu gives a GPU."""
    asked = ask_spawner([row.request for row in AUTHORS_TABLE], releases[AUTHORING.name])
    authors, students = asked[0].spawner.get("class"), choices[f"?course={PLAIN}"].spawner.get("class")
    if authors and authors != students and asked[0].tag != PLAIN:
        pytest.skip(f"the authors' hub has another spawner, {authors}, and it reads no links")
    for row, found in zip(AUTHORS_TABLE, asked, strict=True):
        said = f"authors' {row} gives {found}; expected image {row.tag}{', a GPU' if row.gpu else ', no GPU'}"
        assert (found.tag, found.gpus) == (row.tag, int(row.gpu)), (
            f"{said}: see what the spawner makes of course, tag and needs_gpu where authenticator_class is not tmp"
        )


def first_page(choices: Mapping[str, Choice]) -> str | None:
    """The page of a link without a notebook: the server's own choice, or that of the values (singleuser.defaultUrl)."""
    page = choices[f"?course={PLAIN}"].default_url
    assert not (page or "").startswith("/notebooks/"), f"a link without a notebook opens {page}"
    return page


@pytest.mark.parametrize("course", [PLAIN, GPU_COURSE])
def test_scheduler_has_a_node(
    choices: Mapping[str, Choice], node_for: Callable[[Choice], str], deployment: Deployment, course: str
) -> None:
    """There is a node for what the spawner asks for: the GPU node for a course with a GPU, another for any other."""
    gpu_node = deployment.cluster.nodes[1]
    node = node_for(choices[f"?course={course}"])
    assert (node == gpu_node) == (course in GPU_COURSES), f"course {course} lands on {node}; the GPUs are on {gpu_node}"


def test_hostile_notebook_names_stay_on_the_server(choices: Mapping[str, Choice]) -> None:
    """A notebook's name never leads to another host or out of the notebook pages."""
    without = first_page(choices)
    for name in HOSTILE:
        found = choices[name]
        page = found.default_url or ""
        assert not found.error, f"notebook={name} ends in an error: {found.error}"
        assert page.startswith("/notebooks/") or found.default_url == without, (
            f"notebook={name} sends the student to {page}"
        )
        assert not {"\n", "\r"} & set(page), f"notebook={name} breaks the lines of an answer: {page!r}"


def test_lists_of_courses_are_the_same(
    plan: Plan, known_among: Callable[[Collection[str]], set[str]], registry: Registry, pre_pulled: set[str]
) -> None:
    """The courses that the spawner knows, the pre-puller pulls and the registry holds are the same."""
    pulled = {image.removeprefix(f"{COURSE_REPOSITORY}:") for image in pre_pulled}
    # A course that the spawner alone knows is somewhere in its text.
    said = {each.value for each in ast.walk(parse_python(plan.spawner, "--spawner")) if isinstance(each, ast.Constant)}
    words = {each for each in said if isinstance(each, str) and re.fullmatch(r"[\w.-]+", each)}
    known = known_among(sorted(pulled | registry.tags() | KNOWN_COURSES | words))
    for where, there in (("the pre-puller", pulled), ("the registry", registry.tags())):
        assert not known - there, f"missing from {where}, though the spawner knows them: {sorted(known - there)}"
    assert not pulled - known, f"pre-pulled, but missing from the spawner's known courses: {sorted(pulled - known)}"


def test_each_course_has_an_image_of_its_own(registry: Registry) -> None:
    """No two courses are one image: nobody has pushed a course's image under another's tag."""
    there: dict[str, list[str]] = {}
    for course in sorted(KNOWN_COURSES & registry.tags()):
        there.setdefault(registry.digest(course), []).append(course)
    assert there, "the registry has no course's image"
    twice = [" and ".join(courses) for courses in there.values() if len(courses) > 1]
    assert not twice, f"one image under two tags: {', '.join(twice)}"


@a_class
def test_whole_class_at_once(student_class: ClassArrival, cluster: Cluster, registry: Registry) -> None:
    """Students of every course arrive together, and each works in the image of their own course, on a right node."""
    wrong = []
    for course, result in sorted(student_class.results.items()):
        if result.trouble:
            wrong.append(f"{course}: {result.trouble}")
            continue
        pushed = f"{COURSE_REPOSITORY}@{registry.digest(course)}"
        if result.marker != course:
            wrong.append(f"course {course} opened the image of {result.marker}")
        if result.image_id != pushed:
            wrong.append(f"course {course} runs {result.image_id}, and pushed was {pushed}")
        if course in GPU_COURSES and result.node != cluster.nodes[1]:
            wrong.append(f"course {course} needs a GPU and landed on {result.node}")
        if course in GPU_COURSES and result.gpus != 1:
            wrong.append(f"course {course} has {result.gpus} GPUs, expected 1")
        if course in CPU_COURSES and result.gpus:
            wrong.append(f"course {course} needs no GPU and has {result.gpus}")
    assert not wrong, "\n".join(wrong)


@a_class
def test_hub_answers_while_a_class_arrives(student_class: ClassArrival) -> None:
    """The hub answers others while a class of students arrives: a spawn never freezes it."""
    assert student_class.slowest_answer < 30, (
        f"/hub/health took {student_class.slowest_answer:.1f} s while a class arrived: something blocks the hub's loop"
    )


@a_class
def test_students_of_a_class_share_nothing(student_class: ClassArrival) -> None:
    """Nobody in a class has the name, the pod or the cookies of another."""
    results = [result for result in student_class.results.values() if not result.trouble]
    assert len(results) > 1, f"of {len(student_class.results)} students {len(results)} got a server"
    faults = shared(results)
    assert not faults, "\n".join(faults)
