"""Drills as they are written in tests/drills."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.drills.model import PEOPLE, Addition, Drill, Edit, ImageChange, Renaming, Replacement, ValueChanges
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec

KEYS = {
    "name",
    "hurts",
    "caught by",
    "says",
    "wanted",
    "valid",
    "try",
    "values",
    "values deleted",
    "authoring values",
    "authoring values deleted",
    "hub package",
    "spawner",
    "chart",
    "image",
    "registry",
}


def read_drills(directory: Path) -> list[Drill]:
    """All drills, in the order of their files.

    Raises:
        HarnessError: one is not written as it should be (file, drill and line are named), or two have one name.
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
    """The drills of one file.

    Raises:
        HarnessError: as `read_drills`.
    """
    loader = yaml.SafeLoader(read_text(file, "drills"))
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise HarnessError(f"{file.name}: expected a list of drills")
        return [_Reader(file, node, loader).drill() for node in root.value]
    except yaml.YAMLError as error:
        raise HarnessError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


class _Reader:
    """Makes a drill of what is written, and says where it is not as it should be."""

    def __init__(self, file: Path, node: yaml.Node, loader: yaml.SafeLoader) -> None:
        self.file, self.line = file, node.start_mark.line + 1
        self.name = ""
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong("expected a drill, a mapping with a name")
        keys = [str(loader.construct_object(key)) for key, _ in node.value]
        self.given = {str(key): value for key, value in loader.construct_mapping(node, deep=True).items()}
        self.name = str(self.given.get("name", ""))
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise self.wrong(f"{min(twice)!r} is there twice")

    def wrong(self, what: str) -> HarnessError:
        return HarnessError(f"{self.file.name}, line {self.line}{f', {self.name!r}' if self.name else ''}: {what}")

    def drill(self) -> Drill:
        if strange := sorted(set(self.given) - KEYS):
            raise self.wrong(f"nobody knows {strange[0]!r}; there are {', '.join(sorted(KEYS))}")
        valid, hurts, wanted = self.text("valid"), self.text("hurts"), self.text("wanted")
        caught_by, tries = self.texts("caught by"), self.texts("try")
        if not self.name:
            raise self.wrong("expected a name, what a person would see")
        if valid and (hurts or caught_by or wanted):
            raise self.wrong("a valid change hurts nobody, and nothing may catch it")
        if valid and not tries:
            raise self.wrong("a valid change says under 'try' which tests it could disturb")
        if not valid and hurts not in PEOPLE:
            raise self.wrong(f"'hurts' is one of {', '.join(PEOPLE)}; found {hurts!r}")
        if not valid and bool(caught_by) == bool(wanted):
            raise self.wrong("a regression has the test that must catch it, 'caught by', or else the promise 'wanted'")
        drill = Drill(
            name=self.name,
            file=self.file,
            line=self.line,
            hurts=hurts,
            caught_by=caught_by,
            says=self.text("says"),
            wanted=wanted,
            valid=valid,
            tries=tries,
            values=self.values(),
            hub_package=self.text("hub package"),
            spawner=self.edits(self.given.get("spawner", []), "spawner"),
            chart=self.chart(),
            image=self.image(),
            written=json.dumps(self.given, sort_keys=True, default=str),
            **self.registry(),
        )
        changes = (drill.values, drill.hub_package, drill.spawner, drill.chart, drill.image)
        if not any((*changes, drill.deleted_tags, drill.moved_tags)):
            raise self.wrong("it changes nothing")
        return drill

    def text(self, key: str) -> str:
        found = self.given.get(key, "")
        if not isinstance(found, str):
            raise self.wrong(f"{key!r}: expected a text, found {found!r}")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        return self.several(self.given.get(key, []), repr(key))

    def several(self, found: Any, what: str) -> tuple[str, ...]:
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise self.wrong(f"{what}: expected a text or a list of texts, found {found!r}")
        return tuple(listed)

    def mapping(self, found: Any, what: str, keys: Collection[str] = ()) -> dict[str, Any]:
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise self.wrong(f"{what}: expected a mapping, found {found!r}")
        if keys and (strange := sorted(set(found) - set(keys))):
            raise self.wrong(f"{what}: nobody knows {strange[0]!r}; there are {', '.join(keys)}")
        return found

    def values(self) -> dict[HubSpec, ValueChanges]:
        found = {}
        for role, key in ((STUDENT, "values"), (AUTHORING, "authoring values")):
            changes = ValueChanges(self.mapping(self.given.get(key, {}), key), self.texts(f"{key} deleted"))
            if changes.paths:
                found[role] = changes
        return found

    def edits(self, found: Any, what: str) -> tuple[Edit, ...]:
        if not isinstance(found, list):
            raise self.wrong(f"{what}: expected a list of edits, found {found!r}")
        return tuple(self.edit(each, what) for each in found)

    def edit(self, found: Any, what: str) -> Edit:
        match self.mapping(found, what):
            case {"append": str(lines), **others} if not others:
                return Addition(lines)
            case {"rename": str(name), "to": str(to), **others} if not others:
                return Renaming(name, to)
            case {"replace": texts, "with": by, **others} if not others:
                before = self.several(texts, f"{what}: 'replace'")
                after = self.several(by, f"{what}: 'with'")
                after = after * len(before) if len(after) == 1 else after
                if before and len(before) == len(after):
                    return Replacement(before, after)
        raise self.wrong(f"{what}: expected {{replace, with}}, {{rename, to}} or {{append}}; found {found!r}")

    def chart(self) -> dict[str, tuple[Edit, ...]]:
        found = self.given.get("chart")
        if found is None:
            return {}
        about = dict(self.mapping(found, "chart"))
        file = about.pop("file", "")
        if not isinstance(file, str) or not file:
            raise self.wrong("chart: expected a file of the chart")
        return {file: (self.edit(about, "chart"),)}

    def image(self) -> ImageChange | None:
        found = self.given.get("image")
        if found is None:
            return None
        about = self.mapping(found, "image", ("course", "dockerfile", "files"))
        files = self.mapping(about.get("files", {}), "image: files")
        if not all(text is None or isinstance(text, str) for text in files.values()):
            raise self.wrong("image: files: expected the text of each file, or nothing for one that goes")
        if not isinstance(about.get("course"), str):
            raise self.wrong("image: expected a course")
        return ImageChange(about["course"], self.edits(about.get("dockerfile", []), "image: dockerfile"), files)

    def registry(self) -> dict[str, Any]:
        about = self.mapping(self.given.get("registry", {}), "registry", ("delete", "retag"))
        deleted = self.several(about.get("delete", []), "registry: delete")
        retag = self.several(about.get("retag", []), "registry: retag")
        if len(retag) not in (0, 2):
            raise self.wrong("registry: retag: expected two tags, that of the image and the one that it gets too")
        return {"deleted_tags": deleted, "moved_tags": {retag[1]: retag[0]} if retag else {}}
