"""A drill: one change to the deployment, planted to see whether the suite gives the verdict that it must."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, with_config

from harness.base.errors import HarnessError
from harness.base.timeline import BOOT
from harness.drills.promise_index import Layer, Promise, function_of
from harness.plan.hubs import HubSpec

DRILLS = "tests/drills"
Person = Literal["student", "author", "operator", ""]
"""The person that a regression hurts; empty for a valid change."""


class RefusedError(HarnessError):
    """Helm or the chart refuses the drill's change."""


class DoesNotApplyError(HarnessError):
    """The deployment lacks what the drill changes."""


class NoCheckoutError(HarnessError):
    """The drill changes the owners' program, and the run was given none."""


Texts = Annotated[tuple[str, ...], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
"""In a file a text, or a list of texts."""


@with_config(extra="forbid")
@dataclass(frozen=True)
class Replacement:
    """An exact text that must be there once, and the text in its place.

    Attributes:
        texts: alternatives, for files that say the same in different words; the first that is there once counts.
        by: the text in the place of each, or of all of them.
    """

    texts: Annotated[Texts, Field(alias="replace", min_length=1)]
    by: Annotated[Texts, Field(alias="with")]

    def __post_init__(self) -> None:
        if len(self.by) not in (1, len(self.texts)):
            raise ValueError(f"expected 'with' one text for all of 'replace', or one for each; found {len(self.by)}")

    def on(self, text: str) -> str:
        """Return a text with the replacement made.

        Raises:
            DoesNotApplyError: no alternative is there exactly once.
        """
        for wanted, new in zip(self.texts, itertools.cycle(self.by), strict=False):
            if text.count(wanted) == 1:
                return text.replace(wanted, new)
        counts = ", ".join(f"{wanted!r} {text.count(wanted)} times" for wanted in self.texts)
        raise DoesNotApplyError(f"expected once the text to replace; found {counts}")


@with_config(extra="forbid")
@dataclass(frozen=True)
class Renaming:
    """A name, and another in its place wherever it is written."""

    name: Annotated[str, Field(alias="rename")]
    to: str

    def on(self, text: str) -> str:
        """Return a text with the name replaced.

        Raises:
            DoesNotApplyError: the name is not there.
        """
        found, count = re.subn(rf"\b{re.escape(self.name)}\b", self.to, text)
        if not count:
            raise DoesNotApplyError(f"nothing has the name {self.name}")
        return found


@with_config(extra="forbid")
@dataclass(frozen=True)
class Addition:
    """Lines at the end of a file."""

    lines: Annotated[str, Field(alias="append")]

    def on(self, text: str) -> str:
        """Return a text with the lines added."""
        return f"{text.rstrip()}\n\n{self.lines.rstrip()}\n"


Edit = Replacement | Renaming | Addition


@dataclass(frozen=True)
class ValueChanges:
    """Changes of a release's values.

    Attributes:
        given: new values by dotted path, each in place of all that was there.
        deleted: dotted paths of deleted keys, so that the chart's default counts.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """All dotted paths that change."""
        return [*self.given, *self.deleted]

    def and_also(self, given: Mapping[str, Any]) -> ValueChanges:
        """Return these changes and others."""
        return ValueChanges({**self.given, **given}, self.deleted)

    def on(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return changed values.

        Raises:
            DoesNotApplyError: a path leads nowhere.
        """
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
class RepositoryChange:
    """A changed copy of a course's repository.

    Attributes:
        course: its directory in courses/.
        files: text by path in the repository; None for a file that is deleted.
    """

    course: str
    dockerfile: tuple[Edit, ...] = ()
    files: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Drill:
    """One drill as it is written down.

    Attributes:
        name: the effect that a person would see.
        caught_by: tests any of which must fail, as `promise_index` names them, or BOOT.
        says: a text that the failure must contain, if there is one that names the cause.
        remarked: in place of a failure, a text that a remark of the tests in `caught_by` must contain.
        wanted: in place of `caught_by`, the promise that no test checks yet.
        valid: the reason why nothing may catch it; empty for a regression.
        tries: tests that a valid change could disturb.
        sooner: tests that see within seconds what the others take minutes for; they come first after such a change.
        deleted_tags, moved_tags: of the registry's course images; each moved tag with the tag whose image it gets.
        image: of a course of the deployment, whose image is built of that.
        course: of a course that an author hands to `--course`, and that is judged by the promises about it alone.
        hub_package: a Python package that both hubs get in another version, as pip names it.
        gate: changes of the gate's routes, as helm/values/gate.yaml has them.
        program: edits of the owners' files, by path from their checkout's root; such a drill has no other change, and
            is judged by the promises about the program alone, without a deployment.
        written: the drill's own data, by which two versions of it differ.
    """

    name: str
    file: Path
    line: int
    hurts: Person = ""
    caught_by: tuple[str, ...] = ()
    says: str = ""
    remarked: str = ""
    wanted: str = ""
    valid: str = ""
    tries: tuple[str, ...] = ()
    sooner: tuple[str, ...] = ()
    values: Mapping[HubSpec, ValueChanges] = field(default_factory=dict)
    hub_package: str = ""
    spawner: tuple[Edit, ...] = ()
    gate: ValueChanges = ValueChanges()
    chart: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    image: RepositoryChange | None = None
    course: RepositoryChange | None = None
    deleted_tags: tuple[str, ...] = ()
    moved_tags: Mapping[str, str] = field(default_factory=dict)
    program: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    written: str = ""

    @property
    def subject(self) -> str:
        """The name of its file."""
        return self.file.stem

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"{self.file.name}, line {self.line}: {self.name}"


def select_drills(drills: Iterable[Drill], *, words: str = "", shard: str = "") -> list[Drill]:
    """Return some of the drills.

    Args:
        words: a part of "subject: name", in any case; empty for all.
        shard: `1/4` for the first of four equal parts.

    Raises:
        HarnessError: there is no such shard.
    """
    chosen = [each for each in drills if words.lower() in f"{each.subject}: {each.name}".lower()]
    if not shard:
        return chosen
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise HarnessError(f"--drills {shard}: expected a part of all, such as 1/4 to 4/4")
    return chosen[int(found[1]) - 1 :: int(found[2])]


def check_tests(drill: Drill, suite: Mapping[str, Promise]) -> None:
    """Check that the tests that a drill names exist, and can judge it.

    Raises:
        HarnessError: one of them does not exist, needs a deployment for a drill of the program, or is not about courses
            that a run is given where the drill is of one, or the other way round.
    """
    for test in (*drill.caught_by, *drill.tries, *drill.sooner):
        if test == BOOT:
            continue
        promise = suite.get(function_of(test))
        if not promise:
            raise HarnessError(f"{drill.where}: there is no promise {test}")
        if drill.program and promise.layer is not Layer.EVALUATED:
            raise HarnessError(
                f"{drill.where}: expected promises that need the evaluated program alone, and {test} asks for what is "
                f"{promise.layer.value}; name one of test_infrastructure.py"
            )
        if bool(drill.course) is not promise.of_course:
            expected = "" if drill.course else "no "
            raise HarnessError(
                f"{drill.where}: expected {expected}promises about a --course, as the drill has {expected}'course'; "
                f"found {test}"
            )


def keys_of(path: str) -> list[str]:
    """Return the keys of a dotted path, in which a backslash keeps a dot that belongs to a key."""
    return [key.replace(r"\.", ".") for key in re.split(r"(?<!\\)\.", path)]


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
    """Return a key of a mapping, or the index of a list's entry."""
    if isinstance(at, list) and key.isdecimal() and int(key) < len(at):
        return int(key)
    if not isinstance(at, dict):
        raise DoesNotApplyError(f"there is no value {path}")
    return key
