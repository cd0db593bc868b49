"""Drills as they are written in tests/drills."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.validation import first_error
from harness.drills.model import (
    Addition,
    Drill,
    Edit,
    Person,
    Renaming,
    Replacement,
    RepositoryChange,
    Texts,
    ValueChanges,
)
from harness.plan.hubs import AUTHORING, STUDENT

TEMPLATE = "template"
"""Directory in courses/ with which authors begin."""


class Written(BaseModel):
    """A part of a drill as it is written; no key is accepted that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _kind_of_edit(given: Any) -> str | None:
    return next((kind for kind in ("replace", "rename", "append") if isinstance(given, dict) and kind in given), None)


EDITS = "expected {replace, with}, {rename, to} or {append}"
WrittenEdit = Annotated[
    Annotated[Replacement, Tag("replace")] | Annotated[Renaming, Tag("rename")] | Annotated[Addition, Tag("append")],
    Discriminator(
        _kind_of_edit,
        custom_error_type="edit",
        custom_error_message=EDITS,
    ),
]


class WrittenRepository(Written):
    """A copy of the course template with changes, as an author hands it to `--course`.

    A notebook is written as the text of its only code cell, or as those of several.
    """

    dockerfile: tuple[WrittenEdit, ...] = ()
    files: dict[str, str | None] = {}
    notebooks: dict[str, Texts] = {}

    def change(self, course: str) -> RepositoryChange:
        """Return the change to a directory in courses/."""
        return RepositoryChange(course, self.dockerfile, {**self.files, **dict(map(_notebook, self.notebooks.items()))})


class WrittenImage(WrittenRepository):
    course: str


def _notebook(written: tuple[str, Iterable[str]]) -> tuple[str, str]:
    name, cells = written
    return name, nbformat.writes(new_notebook(cells=[new_code_cell(text, id=str(n)) for n, text in enumerate(cells)]))


class WrittenFile(Written):
    """A file of the chart or of the owners' checkout, and an edit of it beside."""

    file: str = Field(min_length=1)
    edit: WrittenEdit

    @model_validator(mode="before")
    @classmethod
    def _edit_beside(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        edit = {key: value for key, value in given.items() if key != "file"}
        return {"edit": edit, **{key: value for key, value in given.items() if key == "file"}}


class WrittenRegistry(Written):
    delete: Texts = ()
    retag: tuple[str, str] | None = None
    """The tag of an image, and the tag that it gets too."""


class WrittenDrill(Written):
    """A drill as it is written; `model.Drill` has the meaning of each key."""

    name: str = Field(min_length=1)
    hurts: Person = ""
    caught_by: Texts = Field((), alias="caught by")
    says: str = ""
    remarked: str = ""
    wanted: str = ""
    valid: str = ""
    tries: Texts = Field((), alias="try")
    sooner: Texts = ()
    values: dict[str, Any] = {}
    values_deleted: Texts = Field((), alias="values deleted")
    authoring_values: dict[str, Any] = Field({}, alias="authoring values")
    authoring_values_deleted: Texts = Field((), alias="authoring values deleted")
    hub_package: str = Field("", alias="hub package")
    spawner: tuple[WrittenEdit, ...] = ()
    gate: dict[str, Any] = {}
    gate_deleted: Texts = Field((), alias="gate deleted")
    chart: WrittenFile | None = None
    image: WrittenImage | None = None
    course: WrittenRepository | None = None
    registry: WrittenRegistry = WrittenRegistry()
    program: tuple[WrittenFile, ...] = ()

    @model_validator(mode="after")
    def _regression_or_valid_change(self) -> WrittenDrill:
        if self.valid and (self.hurts or self.caught_by or self.wanted):
            raise ValueError("a valid change hurts nobody, and nothing may catch it")
        if self.remarked and (self.says or not self.caught_by):
            raise ValueError("'remarked' takes the place of 'says': what 'caught by' must remark, and not fail for")
        if self.valid and not self.tries:
            raise ValueError("a valid change names under 'try' the tests that it could disturb")
        if self.sooner and self.remarked:
            raise ValueError("'sooner' names tests that fail, and 'remarked' is for tests that do not")
        if not self.valid and not self.hurts:
            raise ValueError("a regression has 'hurts': student, author or operator")
        if not self.valid and bool(self.caught_by) == bool(self.wanted):
            raise ValueError("a regression has the test that must catch it, 'caught by', or else the promise 'wanted'")
        values = (self.values, self.values_deleted, self.authoring_values, self.authoring_values_deleted)
        others = (*values, self.hub_package, self.spawner, self.chart, self.image, *vars(self.registry).values())
        others += (self.gate, self.gate_deleted)
        if not any((*others, self.program, self.course)):
            raise ValueError("it changes nothing")
        if self.program and any((*others, self.course)):
            raise ValueError("'program': a drill of the owners' program has no deployment, and changes nothing else")
        if self.course and any(others):
            raise ValueError("'course': a drill of an author's course changes nothing of the deployment")
        return self

    def program_edits(self) -> dict[str, tuple[Edit, ...]]:
        """Return the edits of the owners' files, by file, in the order in which they are written."""
        files = dict.fromkeys(each.file for each in self.program)
        return {file: tuple(each.edit for each in self.program if each.file == file) for file in files}

    def drill(self, file: Path, line: int, written: str) -> Drill:
        """Return the drill that is written at a place."""
        changes = {
            STUDENT: ValueChanges(self.values, self.values_deleted),
            AUTHORING: ValueChanges(self.authoring_values, self.authoring_values_deleted),
        }
        return Drill(
            name=self.name,
            file=file,
            line=line,
            hurts=self.hurts,
            caught_by=self.caught_by,
            says=self.says,
            remarked=self.remarked,
            wanted=self.wanted,
            valid=self.valid,
            tries=self.tries,
            sooner=self.sooner,
            values={hub: change for hub, change in changes.items() if change.paths},
            hub_package=self.hub_package,
            spawner=self.spawner,
            gate=ValueChanges(self.gate, self.gate_deleted),
            chart={self.chart.file: (self.chart.edit,)} if self.chart else {},
            image=self.image.change(self.image.course) if self.image else None,
            course=self.course.change(TEMPLATE) if self.course else None,
            deleted_tags=self.registry.delete,
            moved_tags=dict([self.registry.retag[::-1]]) if self.registry.retag else {},
            program=self.program_edits(),
            written=written,
        )


def read_drills(directory: Path) -> list[Drill]:
    """Read all drills, in the order of their files.

    Raises:
        HarnessError: one is not written as it should be (file, line and drill are named), or two have one name.
    """
    found = [drill for file in sorted(directory.glob("*.yaml")) for drill in read_file(file)]
    if not found:
        raise HarnessError(f"{directory}: expected drills, *.yaml; found none")
    named: dict[str, Drill] = {}
    for drill in found:
        if other := named.get(drill.name):
            raise HarnessError(f"{drill.where}: {other.file.name}, line {other.line} has a drill of the same name")
        named[drill.name] = drill
    return found


def read_file(file: Path) -> list[Drill]:
    """Read the drills of one file.

    Raises:
        HarnessError: as `read_drills`.
    """
    loader = yaml.SafeLoader(read_text(file, "drills"))
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise HarnessError(f"{file.name}: expected a list of drills")
        return [_drill(file, node, loader) for node in root.value]
    except yaml.YAMLError as error:
        raise HarnessError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


def _drill(file: Path, node: yaml.Node, loader: yaml.SafeLoader) -> Drill:
    given, line = loader.construct_object(node, deep=True), node.start_mark.line + 1
    name = given.get("name") if isinstance(given, dict) else None
    where = f"{file.name}, line {line}{f', {name!r}' if name else ''}"
    if twice := next(_repeated_keys(node), ""):
        raise HarnessError(f"{where}: {twice!r} is there twice")
    try:
        return WrittenDrill.model_validate(given).drill(file, line, json.dumps(given, sort_keys=True, default=str))
    except ValidationError as error:
        raise HarnessError(f"{where}: {first_error(error)}{_known_keys(error)}") from error


def _repeated_keys(node: yaml.Node) -> Iterator[str]:
    """Yield each key that a mapping, or one within it, has twice: YAML itself lets the last count."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        yield from (key for key in keys if keys.count(key) > 1)
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from _repeated_keys(child[1] if isinstance(child, tuple) else child)


def _known_keys(error: ValidationError) -> str:
    """Return the keys that are known where an unknown one is."""
    found = error.errors()[0]
    if found["type"] == "unexpected_keyword_argument":
        return f" key; {EDITS}"
    if found["type"] != "extra_forbidden":
        return ""
    parts: dict[object, type[Written]] = {
        "image": WrittenImage,
        "course": WrittenRepository,
        "registry": WrittenRegistry,
    }
    part = parts[found["loc"][0]] if len(found["loc"]) > 1 else WrittenDrill
    return f" key; known are {', '.join(sorted(field.alias or name for name, field in part.model_fields.items()))}"
