"""The owners' Concourse pipelines evaluated: their definitions, and the jobs that build courses' images."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.program.closure import COURSES_PIPELINE, PIPELINE_DIRECTORY, SIMPLE_PIPELINES, Place, applications, entries
from harness.program.errors import ProgramError
from harness.program.evaluate import Evaluator

SET_PIPELINE = ("set-pipeline", "sp")
SIMPLE_NAMES = {"jupyterhub_data": "jupyterhub-data"}
"""Name by which the pipeline that many applications share knows one."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that a file sets up.

    Attributes:
        file: of the owners, from the checkout's root.
        arguments: that it was run with.
        name: of its definition's file.
    """

    file: str
    arguments: tuple[str, ...]
    name: str
    definition: Mapping[str, Any]

    @property
    def jobs(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.definition.get("jobs") or ())

    @property
    def resources(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.definition.get("resources") or ())


@dataclass(frozen=True)
class SetPipeline:
    """A command that a file prints for setting up a pipeline.

    Attributes:
        pipeline: its name, and `definition` its file.
        variables: of the pipeline, those that tell its instances apart among them.
    """

    file: str
    pipeline: str
    definition: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class BuildJob:
    """A job that builds a course's image, from a Git repository or from an archive in S3.

    Attributes:
        image_name: tag of the image, which is the course's name in a link.
        course_name: as the pipelines call it; nothing depends on it.
        definition: name of the pipeline's definition.
        place: the line that names the image, or the first of the file if it is put together from parts; None for a
            job that is in no file.
    """

    image_name: str
    course_name: str | None = None
    repo_uri: str | None = None
    s3_bucket: str | None = None
    s3_object_path: str | None = None
    definition: str = ""
    place: Place | None = None


@dataclass(frozen=True)
class Pipelines:
    """All pipelines of the hubs."""

    pipelines: tuple[Pipeline, ...]
    commands: tuple[SetPipeline, ...]
    build_jobs: tuple[BuildJob, ...]


def evaluate_pipelines(evaluator: Evaluator) -> Pipelines:
    """Evaluate the pipelines of a checkout, each run as a script in an empty directory.

    Raises:
        ProgramError: one cannot be evaluated, or no course has a job.
    """
    runs = list(pipeline_runs(evaluator.checkout))
    request = {"kind": "pipelines", "pipelines": [[str(file), list(arguments)] for file, arguments in runs]}
    answers = evaluator.answer(request, "the pipelines")["pipelines"]
    pipelines = [
        Pipeline(answer["file"], tuple(answer["arguments"]), name, definition)
        for answer in answers
        for name, definition in answer["definitions"].items()
    ]
    commands = [command for answer in answers for command in _commands(answer["file"], answer["printed"])]
    courses = next(answer for answer in answers if answer["file"] == str(COURSES_PIPELINE))
    jobs = tuple(_build_jobs(evaluator.checkout, commands, courses["images"]))
    if not jobs:
        raise ProgramError(
            f"{COURSES_PIPELINE}, line 1: expected it to print fly set-pipeline with a variable image_name for each "
            "course, found none\nThe images of courses are known by what this pipeline is set up with."
        )
    return Pipelines(tuple(pipelines), tuple(commands), jobs)


def pipeline_runs(checkout: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the files that set up the hubs' pipelines, and their arguments.

    Raises:
        ProgramError: there is none that builds courses' images.
    """
    if not (checkout / COURSES_PIPELINE).is_file():
        raise ProgramError(
            f"{checkout}: expected a file {COURSES_PIPELINE}, found none\nIt lists the courses whose images are built."
        )
    for path in entries(checkout):
        file = path.relative_to(checkout)
        if file.parent == SIMPLE_PIPELINES:
            yield from ((file, (SIMPLE_NAMES[name],)) for name in applications(checkout) if name in SIMPLE_NAMES)
        elif file.is_relative_to(PIPELINE_DIRECTORY):
            yield file, ()


def _commands(file: str, printed: str) -> Iterator[SetPipeline]:
    """Yield the commands that a file prints; the first may follow a definition without a break."""
    for line in printed.splitlines():
        _, fly, rest = line.partition("fly -t ")
        # The target stands in angle brackets, which a shell would take for something else.
        words = shlex.split(rest.replace("<", "").replace(">", "")) if fly else []
        if len(words) < 2 or words[1] not in SET_PIPELINE:
            continue
        options = list(zip(words[2::2], words[3::2], strict=False))
        variables = [value for name, value in options if name in ("--var", "-v", "--instance-var", "-i")]
        yield SetPipeline(
            file=file,
            pipeline=next((value for name, value in options if name in ("-p", "--pipeline")), ""),
            definition=next((value for name, value in options if name in ("-c", "--config")), ""),
            variables={name: value for name, _, value in (each.partition("=") for each in variables)},
        )


def _build_jobs(checkout: Path, commands: list[SetPipeline], images: list[dict[str, Any]]) -> Iterator[BuildJob]:
    """Yield a job for each image that a pipeline is set up for.

    Names of courses are in the file's records alone, and blanks at the end of an address as well: a command that is
    read as a shell reads it has lost them.
    """
    lines = _lines_of_texts(checkout / COURSES_PIPELINE)
    records = {str(each["image_name"]): each for each in images}
    for command in commands:
        image = command.variables.get("image_name")
        if command.file == str(COURSES_PIPELINE) and image is not None:
            record = records.get(image, {})
            yield BuildJob(
                image_name=image,
                definition=command.definition,
                place=Place(str(COURSES_PIPELINE), lines.get(image, 1)),
                course_name=record.get("course_name"),
                repo_uri=record.get("repo_uri") or _or_none(command, "course_repo"),
                s3_bucket=_or_none(command, "s3_bucket"),
                s3_object_path=_or_none(command, "s3_object_path"),
            )


def course_pipelines(pipelines: Pipelines) -> Iterator[tuple[SetPipeline, Mapping[str, Any]]]:
    """Yield each command that sets up a course's pipeline, and the definition with the command's variables in place."""
    definitions = {(each.file, each.name): json.dumps(each.definition) for each in pipelines.pipelines}
    for command in pipelines.commands:
        text = definitions.get((command.file, command.definition))
        if command.file == str(COURSES_PIPELINE) and "image_name" in command.variables and text:
            for name, value in command.variables.items():
                text = text.replace(f"(({name}))", json.dumps(value)[1:-1])
            yield command, json.loads(text)


def resources_of_steps(
    definition: Mapping[str, Any], kind: str
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each step of a kind, `get` or `put`, however deep in a job, and the resource that it is for."""
    resources = {each["name"]: each for each in definition.get("resources") or ()}
    waiting: list[Any] = [definition.get("jobs") or []]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if isinstance(name := found.get(kind), str):
                yield found, resources.get(found.get("resource") or name, {})
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _or_none(command: SetPipeline, variable: str) -> str | None:
    value = command.variables.get(variable)
    return None if value == "None" else value


def _lines_of_texts(path: Path) -> dict[str, int]:
    """Return the last line at which each text is given as image_name."""
    found = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.keyword(arg="image_name", value=ast.Constant(value=str(text), lineno=line)):
                found[text] = line
    return found
