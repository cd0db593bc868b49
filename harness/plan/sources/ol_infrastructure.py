"""A checkout of mitodl/ol-infrastructure, read for what it says of the deployment. Nothing of its code is run."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.base.files import parse_python, read_text
from harness.plan.contract import COURSE_REPOSITORY, DEFAULT_COURSE
from harness.plan.sources.constants import Constants
from harness.plan.sources.onboarding import container

OPTION = "--ol-infrastructure"

# Where things are in mitodl/ol-infrastructure, at 2bf5bca37.
APPLICATION = Path("src/ol_infrastructure/applications/jupyterhub")
SPAWNER = APPLICATION / "dynamicImageConfig.py"
PRE_PULLER = APPLICATION / "__main__.py"
PIPELINES = Path("src/ol_concourse/pipelines/container_images/jupyter_courses.py")
VERSIONS = Path("src/bridge/lib/versions.py")

BUILD_JOB = "CourseImageInfo"


@dataclass(frozen=True)
class BuildJob:
    """A job that builds a course's image and pushes it, from a Git repository or from an archive in S3.

    Attributes:
        image_name: tag of the image, which is the course's name in a link.
        course_name: what the pipelines call it; nothing depends on it.
        line: where the job is in PIPELINES.
    """

    image_name: str
    course_name: str | None = None
    repo_uri: str | None = None
    s3_bucket: str | None = None
    s3_object_path: str | None = None
    line: int = 0


@dataclass(frozen=True)
class Settings:
    """The notebook's settings files of one hub: the text of each, which is JSON."""

    menu_override: str
    disabled_extensions: str


@dataclass(frozen=True)
class OlInfrastructure:
    """What a checkout says.

    Attributes:
        spawner: path of the custom spawner.
        known: courses that the spawner knows.
        pre_pulled: courses that the students' pre-puller is given.
        build_jobs: in the order of the file.
        chart_version: version of the JupyterHub chart that is deployed.
        logo: text of the hubs' logo, which is SVG.
    """

    checkout: Path
    spawner: Path
    known: frozenset[str]
    pre_pulled: frozenset[str]
    build_jobs: tuple[BuildJob, ...]
    chart_version: str
    students: Settings
    authors: Settings
    logo: str

    @property
    def built(self) -> frozenset[str]:
        """Courses that have a build job."""
        return frozenset(job.image_name for job in self.build_jobs)

    def __str__(self) -> str:
        counts = f"{len(self.known)} courses known, {len(self.pre_pulled)} pre-pulled, {len(self.built)} built"
        return f"{self.checkout}: {counts}, chart {self.chart_version}"


def read(checkout: Path) -> OlInfrastructure:
    """What a checkout says.

    Raises:
        HarnessError: it is none, or a file is not what it should be (file and line are named).
    """
    return OlInfrastructure(
        checkout=checkout,
        spawner=checkout / SPAWNER,
        known=_constants(checkout, SPAWNER).texts_with(DEFAULT_COURSE, "KNOWN_COURSES"),
        pre_pulled=_constants(checkout, PRE_PULLER).texts_with(DEFAULT_COURSE, "COURSE_NAMES"),
        build_jobs=_build_jobs(_python(checkout, PIPELINES), f"{OPTION} {checkout / PIPELINES}"),
        chart_version=_constants(checkout, VERSIONS).text("JUPYTERHUB_CHART_VERSION"),
        students=Settings(_json(checkout, "menu_override.json"), _json(checkout, "disabled_extensions.json")),
        authors=Settings(
            _json(checkout, "author_menu_override.json"), _json(checkout, "author_disabled_extensions.json")
        ),
        logo=_logo(checkout),
    )


def values(read: OlInfrastructure) -> dict[str, Any]:
    """Values of the students' hub, by dotted key. Each stands in place of all that values files have under its key.

    Helm merges what values files say, and to take an entry away again, both charts' schemas refuse null. So these are
    for --set-json, which replaces.
    """
    pre_pulled = {container(course): {"name": COURSE_REPOSITORY, "tag": course} for course in sorted(read.pre_pulled)}
    return {**_files(read.students, read.logo), "prePuller.extraImages": pre_pulled}


def authoring_values(read: OlInfrastructure) -> dict[str, Any]:
    """The same for the authors' hub, which pre-pulls nothing."""
    return _files(read.authors, read.logo)


def _files(settings: Settings, logo: str) -> dict[str, Any]:
    mounted = {
        "hub.extraFiles.mit_learn_svg": ("/opt/mit_learn.svg", logo),
        "singleuser.extraFiles.menu_override": (
            "/opt/conda/share/jupyter/lab/settings/overrides.json",
            settings.menu_override,
        ),
        "singleuser.extraFiles.disabled_extensions": (
            "/home/jovyan/.jupyter/labconfig/page_config.json",
            settings.disabled_extensions,
        ),
    }
    return {key: {"mountPath": path, "stringData": text} for key, (path, text) in mounted.items()}


def _build_jobs(tree: ast.Module, where: str) -> tuple[BuildJob, ...]:
    constants = Constants(tree, where)
    fields = {"image_name", "course_name", "repo_uri", "s3_bucket", "s3_object_path"}
    found = []
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == BUILD_JOB):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in fields}
        if call.args or any(keyword.arg is None for keyword in call.keywords) or "image_name" not in given:
            raise HarnessError(
                f"{where}, line {call.lineno}: expected {BUILD_JOB}(course_name=…, image_name=…, …), its arguments "
                f"by name; found {ast.unparse(call)[:80]}"
            )
        texts = {name: constants.text_or_none(value) for name, value in given.items() if name}
        image_name = texts.pop("image_name")
        found.append(BuildJob(image_name or "", line=call.lineno, **texts))
    if not found:
        raise HarnessError(f"{where}: expected build jobs, {BUILD_JOB}(image_name=…, …); found none")
    return tuple(sorted(found, key=lambda job: job.line))


def _constants(checkout: Path, name: Path) -> Constants:
    return Constants(_python(checkout, name), f"{OPTION} {checkout / name}")


def _python(checkout: Path, name: Path) -> ast.Module:
    return parse_python(_present(checkout, name), OPTION)


def _json(checkout: Path, name: str) -> str:
    path = _present(checkout, APPLICATION / name)
    text = read_text(path, OPTION)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise HarnessError(f"{OPTION} {path}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{OPTION} {path}: expected a JSON object, found a {type(content).__name__}")
    return text


def _logo(checkout: Path) -> str:
    path = _present(checkout, APPLICATION / "mit_learn.svg")
    text = read_text(path, OPTION)
    if "<svg" not in text:
        raise HarnessError(f"{OPTION} {path}: expected an image in SVG, found no <svg")
    return text


def _present(checkout: Path, name: Path) -> Path:
    if not (checkout / name).is_file():
        raise HarnessError(
            f"{OPTION} {checkout}: expected a file {name}, found none; is this a checkout of mitodl/ol-infrastructure?"
        )
    return checkout / name
