"""A drill: one change to the deployment, planted to see whether the suite says of it what it must."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.timeline import BOOT
from harness.charts.manifests import Loader
from harness.drills.promise_index import function_of
from harness.plan.hubs import HubSpec

DRILLS = "tests/drills"
PEOPLE = ("student", "author", "operator")


class RefusedError(HarnessError):
    """Helm or the chart refuses the change."""


class DoesNotApplyError(HarnessError):
    """This deployment has not what the drill changes."""


@dataclass(frozen=True)
class Replacement:
    """An exact text that must be there once, and what comes in its place.

    Attributes:
        texts: alternatives, for files that say the same in different words; the first that is there once counts.
        by: what comes in the place of each.
    """

    texts: tuple[str, ...]
    by: tuple[str, ...]

    def on(self, text: str) -> str:
        for wanted, new in zip(self.texts, self.by, strict=True):
            if text.count(wanted) == 1:
                return text.replace(wanted, new)
        counts = ", ".join(f"{wanted!r} {text.count(wanted)} times" for wanted in self.texts)
        raise DoesNotApplyError(f"expected once what is to be replaced; found {counts}")


@dataclass(frozen=True)
class Renaming:
    """A name that gives way to another wherever it is written."""

    name: str
    to: str

    def on(self, text: str) -> str:
        found, count = re.subn(rf"\b{re.escape(self.name)}\b", self.to, text)
        if not count:
            raise DoesNotApplyError(f"nothing has the name {self.name}")
        return found


@dataclass(frozen=True)
class Addition:
    """Lines at the end of a file."""

    lines: str

    def on(self, text: str) -> str:
        return f"{text.rstrip()}\n\n{self.lines.rstrip()}\n"


Edit = Replacement | Renaming | Addition


@dataclass(frozen=True)
class ValueChanges:
    """What is otherwise among a release's values.

    Attributes:
        given: by dotted path, each in place of all that was there.
        deleted: dotted paths of keys that are there no more, so that the chart's default counts.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        return [*self.given, *self.deleted]

    def and_also(self, given: Mapping[str, Any]) -> ValueChanges:
        return ValueChanges({**self.given, **given}, self.deleted)

    def on(self, values: Mapping[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = copy.deepcopy(dict(values))
        for path, value in self.given.items():
            *way, last = keys_of(path)
            at = _reach(changed, way, path)
            at[_key(at, last, path)] = copy.deepcopy(value)
        for path in self.deleted:
            *way, last = keys_of(path)
            at = _reach(changed, way, path, must_be_there=True)
            key = _key(at, last, path)
            if isinstance(at, dict) and key not in at:
                raise DoesNotApplyError(f"there is no value {path} to delete")
            del at[key]
        return changed


@dataclass(frozen=True)
class ImageChange:
    """A course's image, built from its repository after somebody changed that.

    Attributes:
        files: text by path in the repository; None where there is no such file any more.
    """

    course: str
    dockerfile: tuple[Edit, ...] = ()
    files: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Drill:
    """One drill as it is written down.

    Attributes:
        name: what a person would see.
        hurts: whom; empty for a valid change.
        caught_by: tests any of which must fail, as harness.suite names them, or BOOT.
        says: a text that the failure must have in it, if there is one that names the cause.
        wanted: in place of `caught_by`, the promise that no test checks yet.
        valid: why nothing may catch it; empty for a regression.
        tries: tests that a valid change could disturb.
        deleted_tags, moved_tags: of the registry's course images; each moved tag with the tag whose image it gets.
        hub_package: a Python package that both hubs have in another version, as pip is asked for it.
        written: the drill's own data, for what has to tell two versions of it apart.
    """

    name: str
    file: Path
    line: int
    hurts: str = ""
    caught_by: tuple[str, ...] = ()
    says: str = ""
    wanted: str = ""
    valid: str = ""
    tries: tuple[str, ...] = ()
    values: Mapping[HubSpec, ValueChanges] = field(default_factory=dict)
    hub_package: str = ""
    spawner: tuple[Edit, ...] = ()
    chart: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    image: ImageChange | None = None
    deleted_tags: tuple[str, ...] = ()
    moved_tags: Mapping[str, str] = field(default_factory=dict)
    written: str = ""

    @property
    def subject(self) -> str:
        """What it is about: the name of its file."""
        return self.file.stem

    @property
    def where(self) -> str:
        return f"{self.file.name}, line {self.line}: {self.name}"


def selected(drills: Iterable[Drill], *, words: str = "", shard: str = "") -> list[Drill]:
    """Some of the drills.

    Args:
        words: what is in a drill's name or subject, in any case; all of it for all.
        shard: `1/4` for the first of four equal parts.

    Raises:
        HarnessError: the shard is none.
    """
    chosen = [each for each in drills if words.lower() in f"{each.subject} {each.name}".lower()]
    if not shard:
        return chosen
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise HarnessError(f"--drills {shard}: expected a part of all, such as 1/4 to 4/4")
    return chosen[int(found[1]) - 1 :: int(found[2])]


def check_tests(drill: Drill, known: Collection[str]) -> None:
    """See that there are the tests that a drill names.

    Raises:
        HarnessError: there are not.
    """
    for test in (*drill.caught_by, *drill.tries):
        if test != BOOT and function_of(test) not in known:
            raise HarnessError(f"{drill.where}: there is no promise {test}")


def merged(files: Iterable[Path]) -> dict[str, Any]:
    """Values files as Helm merges them: mappings key by key, anything else as the later file has it."""
    found: dict[str, Any] = {}
    for file in files:
        found = _merge(found, yaml.load(read_text(file, "--values"), Loader) or {})
    return found


def keys_of(path: str) -> list[str]:
    """The keys of a dotted path, in which a backslash keeps a dot that belongs to a key."""
    return [key.replace(r"\.", ".") for key in re.split(r"(?<!\\)\.", path)]


def _merge(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{key: _merge(under.get(key), value) for key, value in over.items()}}
    return over


def _reach(values: Any, way: list[str], path: str, *, must_be_there: bool = False) -> Any:
    at = values
    for key in way:
        if isinstance(at, dict) and key not in at and not must_be_there:
            at[key] = {}
        try:
            at = at[_key(at, key, path)]
        except (KeyError, IndexError) as error:
            raise DoesNotApplyError(f"there is no value {path}") from error
    return at


def _key(at: Any, key: str, path: str) -> Any:
    """A key of a mapping, or a list's entry by its number."""
    if isinstance(at, list) and key.isdecimal() and int(key) < len(at):
        return int(key)
    if not isinstance(at, dict):
        raise DoesNotApplyError(f"there is no value {path}")
    return key
