"""A drill: one change to the deployment, planted to see whether the suite says of it what it must.

A regression names the promise that must catch it; of a valid change nothing may. Both are data, in tests/drills.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.artifacts.oci import Layout
from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.shell import CommandError, run, tail
from harness.charts.chart import Chart, Loader
from harness.courses.images import CourseBuilder
from harness.deployment.deployment import replaced_values
from harness.drills.promise_index import function_of
from harness.plan.hubs import AUTHORING, ROLES, STUDENT, Role
from harness.plan.plan import Plan, check_spawner
from harness.report.outcomes import BOOT

DRILLS = "tests/drills"
PEOPLE = ("student", "author", "operator")
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
    values: Mapping[Role, ValueChanges] = field(default_factory=dict)
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

    def values(self) -> dict[Role, ValueChanges]:
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


def planted(drill: Drill, plan: Plan, chart: Chart, scratch: Path) -> Plan:
    """The plan of a deployment with the drill's change in its values, its spawner and its chart.

    Args:
        chart: the one that the plan's releases are of.
        scratch: a directory for the changed files, which is made anew.

    Raises:
        DoesNotApplyError: the deployment has not what the drill changes.
        HarnessError: the drill leaves no spawner that is Python, or there is no such package.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    package = in_the_hub(wheel_of(drill.hub_package, scratch)) if drill.hub_package else {}
    changes = {role: drill.values.get(role, ValueChanges()).and_also(package) for role in ROLES}
    return dataclasses.replace(
        plan,
        values=_values(changes[STUDENT], plan, STUDENT, plan.values, scratch / "values.yaml"),
        authoring_values=_values(
            changes[AUTHORING], plan, AUTHORING, plan.authoring_values, scratch / "authoring.yaml"
        ),
        spawner=_spawner(drill, plan, scratch / "dynamicImageConfig.py"),
        chart=_chart(drill, plan, chart, scratch / "chart"),
    )


def changed_image(
    drill: Drill, builder: CourseBuilder, repositories: Mapping[str, Path], scratch: Path
) -> dict[str, Layout]:
    """The image of a course after the drill's change to its repository, by its tag; none where the drill has none.

    Raises:
        DoesNotApplyError: the course has no repository, or not that file or line.
        HarnessError: what became of the Dockerfile does not build.
    """
    change = drill.image
    if change is None:
        return {}
    if change.course not in repositories:
        raise DoesNotApplyError(f"course {change.course} has no repository")
    changed = scratch / "repository"
    shutil.rmtree(changed, ignore_errors=True)
    shutil.copytree(repositories[change.course], changed)
    dockerfile = changed / "Dockerfile"
    dockerfile.write_text(_edited(dockerfile.read_text(), change.dockerfile, "Dockerfile"))
    for name, text in change.files.items():
        file = changed / name
        if text is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif file.is_file():
            file.unlink()
        else:
            raise DoesNotApplyError(f"course {change.course} has no file {name}")
    return builder.images([change.course], {change.course: changed})


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


def wheel_of(package: str, into: Path) -> Path:
    """The wheel of a package alone, without what it needs.

    Raises:
        HarnessError: the package index has none, or is not in reach.
    """
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(into)]
    try:
        run([sys.executable, "-m", "pip", "download", *options, package], timeout=120, what=f"pip download {package}")
    except CommandError as error:
        raise HarnessError(f"There is no wheel of {package}{tail(error.output)}") from error
    return next(into.glob("*.whl"))


def in_the_hub(wheel: Path) -> dict[str, Any]:
    """Values by which a hub has a wheel, and takes from it what its image has in another version."""
    place = f"/opt/{wheel.name}"
    return {
        "hub.extraFiles.wheel": {"mountPath": place, "binaryData": base64.b64encode(wheel.read_bytes()).decode()},
        # Python imports from a zip file, which a wheel is, and from here before all other places.
        "hub.extraEnv.PYTHONPATH": place,
    }


def _values(changes: ValueChanges, plan: Plan, role: Role, files: tuple[Path, ...], into: Path) -> tuple[Path, ...]:
    if not changes.paths:
        return files
    for path in changes.paths:
        for other in replaced_values(plan, role):
            if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                raise DoesNotApplyError(f"this run has a {other} of its own, in place of the one in the values")
    # In one file, because a key that is deleted from one of several is still in the others.
    into.write_text(json.dumps(changes.on(merged(files)), indent=1))
    return (into,)


def _spawner(drill: Drill, plan: Plan, into: Path) -> Path:
    if not drill.spawner:
        return plan.spawner
    into.write_text(_edited(read_text(plan.spawner, "--spawner"), drill.spawner, "the spawner"))
    check_spawner(into)
    return into


def _chart(drill: Drill, plan: Plan, chart: Chart, into: Path) -> str:
    if not drill.chart:
        return plan.chart
    shutil.copytree(chart.path, into)
    for name, edits in drill.chart.items():
        file = into / name
        if not file.is_file():
            raise DoesNotApplyError(f"this chart has no file {name}")
        file.write_text(_edited(file.read_text(), edits, name))
    return str(into)


def _edited(text: str, edits: Iterable[Edit], what: str) -> str:
    for edit in edits:
        try:
            text = edit.on(text)
        except DoesNotApplyError as error:
            raise DoesNotApplyError(f"{what}: {error}") from error
    return text
