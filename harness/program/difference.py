"""Differences between two evaluations of the owners' program: values, routes, access, pipelines, and what else."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.program.evaluation import Evaluation
from harness.program.model import STACKS, Program

ABSENT = "absent"
"""Text in place of what one of two sides does not have."""
SECTIONS = ("values", "objects", "routes", "secrets", "access", "pipelines", "other resources")
"""Groups of differences, in the order in which they are shown."""
SHOWN = 60
"""Characters of a value that a line shows."""
LISTED = 40
"""Differences of a section that lines for the terminal show; a report has all of them."""
NAMES = ("name", "key", "id", "mountPath", "get", "put", "task", "hosts", "host", "Sid")
"""Keys by which an entry of a list is known, so that one more entry is one difference."""
PUNCTUATED = re.compile(r"[.\s\[\]\"]")
"""Characters that mean something in a path."""
LAST_STEP = re.compile(r'(?:[. ]?(?:"(?:[^"\\]|\\.)*"|[^.\s\[\]"]+)|\[[^\]]*\])$')
"""The last step of a path: a key, or the name of an entry."""


@dataclass(frozen=True, order=True)
class Difference:
    """A value that one side has and the other has not, or has otherwise.

    Attributes:
        section: one of SECTIONS.
        where: owner and path, as in "jupyterhub cull.timeout".
        before, after: as text; ABSENT for none.
        stacks: for which it holds; none where it is the same for all.
    """

    section: str
    where: str
    before: str
    after: str
    stacks: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        whose = f" ({', '.join(self.stacks)})" if self.stacks else ""
        if "\n" in self.before + self.after:
            return f"{self.where}: {_lines(self.before, self.after)}{whose}"
        before, after = _short_pair(self.before, self.after)
        return f"{self.where}: {before} → {after}{whose}"

    @property
    def diff(self) -> str:
        """Return the changed lines of two long texts, as diff -u shows them; empty for values that fit into a line."""
        if not any("\n" in text or len(text) > SHOWN for text in (self.before, self.after)):
            return ""
        before, after = self.before.splitlines(), self.after.splitlines()
        return "\n".join(difflib.unified_diff(before, after, "before", "after", lineterm="", n=2))


@dataclass(frozen=True)
class Preview:
    """The difference that a change of a checkout makes.

    Attributes:
        compared: the revision that it is compared with, in words.
        notes: what rendered the objects, and what could not be compared.
        has_base: the revision was evaluated.
    """

    compared: str
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    has_base: bool = True

    @property
    def headline(self) -> str:
        if not self.has_base:
            return f"changed since {self.compared}: not known"
        count = len(self.differences)
        return f"changed since {self.compared}: {f'{count} values' if count else 'nothing that would be applied'}"

    @property
    def sections(self) -> dict[str, list[Difference]]:
        """Return the differences by section, in the order of these."""
        found = {name: [each for each in self.differences if each.section == name] for name in SECTIONS}
        return {name: its for name, its in found.items() if its}

    def lines(self) -> Iterator[str]:
        """Yield the preview in lines for the terminal."""
        yield self.headline
        for section, found in self.sections.items():
            for each in found[:LISTED]:
                yield f"  {section + ':':<17}{each}"
            if len(found) > LISTED:
                yield f"  {section + ':':<17}{len(found) - LISTED} more, in report.html"
        yield from (f"  {note}" for note in self.notes)


def differences(before: Evaluation, after: Evaluation) -> list[Difference]:
    """Return what differs between two evaluations, of all that both can be asked for."""
    found: dict[Difference, list[str]] = {}
    for (application, stack), program in sorted(after.programs.items()):
        old = before.programs.get((application, stack))
        if old:
            for each in compare(_of_program(old), _of_program(program)):
                found.setdefault(each, []).append(stack)
    programs = merge_stacks(found, {stack for _, stack in after.programs.keys() & before.programs.keys()})
    if before.pipelines and after.pipelines:
        programs += compare(*({"pipelines": _of_pipelines(each)} for each in (before, after)))
    return sorted(programs, key=lambda each: (SECTIONS.index(each.section), each.where))


def merge_stacks(found: Mapping[Difference, Collection[str]], compared: Collection[str]) -> list[Difference]:
    """Return differences with the stacks that they were found for, where these are not all that were compared."""
    return [_with_stacks(each, () if set(stacks) == set(compared) else stacks) for each, stacks in found.items()]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the differences of two trees, whose first level is the sections."""
    found = []
    for section in SECTIONS:
        sides = [tree.get(section, {}) for tree in (before, after)]
        old, new = (dict(flat(side)) for side in sides)
        for where in sorted(old.keys() | new.keys()):
            was, now = old.get(where, ABSENT), new.get(where, ABSENT)
            if was != now and not (_was_empty(was, where, new) or _was_empty(now, where, old)):
                found.append(Difference(section, where, was, now))
        found += _moved(section, *(dict(_orders(side)) for side in sides))
    return list(_summarised(found))


def flat(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each leaf of a tree with its path; entries of a list by their name where they have one.

    A text that could be taken for another value is in quotes, and so is a key with a dot.
    """
    for path, leaf in _walk(value):
        if not (isinstance(leaf, Sequence) and leaf) or isinstance(leaf, str):
            yield path, _text(leaf)


def _was_empty(text: str, where: str, other: Mapping[str, str]) -> bool:
    """Tell a mapping or list that is empty on one side alone: each value of the other side is a difference."""
    return text in ("{}", "[]") and any(path.startswith((f"{where}.", f"{where} ", f"{where}[")) for path in other)


def _orders(value: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the names in each list whose entries are known by names, in their order."""
    for path, leaf in _walk(value):
        if isinstance(leaf, Sequence) and not isinstance(leaf, str) and leaf:
            yield path, [name for name, _ in _named(leaf)]


def _moved(section: str, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> Iterator[Difference]:
    """Yield the lists of which entries that both sides have stand in another order."""
    for path in sorted(old.keys() & new.keys()):
        was, now = ([name for name in side[path] if name in old[path] and name in new[path]] for side in (old, new))
        if was != now:
            yield Difference(section, f"{path} (order)", ", ".join(was), ", ".join(now))


def _walk(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield each leaf and each list of a tree, with its path; the first level is the owner: a release, a route."""
    if isinstance(value, Mapping) and (value or not depth):
        for key, each in value.items():
            name = str(key) if depth == 0 or not PUNCTUATED.search(str(key)) else json.dumps(key)
            yield from _walk(each, f"{path}{('', ' ')[depth] if depth < 2 else '.'}{name}", depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        yield path, value
        for name, each in _named(value):
            yield from _walk(each, f"{path}[{name}]", max(depth, 2))
    else:
        yield path, value


def _text(value: Any) -> str:
    """Return a value as text, that shows its type."""
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    return json.dumps(value) if value in ("", ABSENT) or _is_json(value) else value


def _is_json(text: str) -> bool:
    """Tell a text that reads as a number, a truth value or null."""
    try:
        return not isinstance(json.loads(text), str | list | dict)
    except ValueError:
        return False


def _named(entries: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    names = [_name(each) for each in entries]
    unique = all(names) and len(set(names)) == len(names)
    for number, (name, each) in enumerate(zip(names, entries, strict=True)):
        yield (name if unique else str(number)), each


def _name(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Mapping):
        return next((str(entry[key]) for key in NAMES if isinstance(entry.get(key), str)), "")
    return ""


def _summarised(found: Iterable[Difference]) -> Iterator[Difference]:
    """Yield differences, those of one thing that came or went as one."""
    whole: dict[tuple[str, str, bool], list[Difference]] = {}
    for each in found:
        if ABSENT in (each.before, each.after):
            whole.setdefault((each.section, _owner(each.where), each.before == ABSENT), []).append(each)
        else:
            yield each
    for (section, owner, came), members in whole.items():
        if len(members) == 1:
            yield members[0]
        else:
            count = f"{len(members)} values"
            yield Difference(section, owner, *((ABSENT, count) if came else (count, ABSENT)))


def _owner(where: str) -> str:
    """Return the path above a leaf: the thing that came or went."""
    return LAST_STEP.sub("", where) or where


def _of_program(program: Program) -> dict[str, Any]:
    """Return a program as a tree: a section, a thing, its values."""
    tree: dict[str, Any] = {section: {} for section in SECTIONS}
    for release in program.releases:
        about = {"chart": release.chart, "version": release.version, "repository": release.repository}
        tree["values"][release.name] = {
            "(release)": {**about, "namespace": release.namespace},
            **release.values,
        }
    for route in program.routes:
        plugins = {plugin.name: {"enabled": plugin.enabled, **plugin.config} for plugin in route.plugins}
        tree["routes"][route.name] = {
            "hosts": list(route.hosts),
            "paths": list(route.paths),
            "backends": [f"{each.service}:{each.port}" for each in route.backends],
            "websocket": route.websocket,
            "plugins": plugins,
        }
    for secret in program.secrets:
        tree["secrets"][secret.target] = {
            "namespace": secret.namespace,
            "from": f"{secret.mount}/{secret.path}",
            **secret.templates,
        }
    for policy in (*program.policies, *program.trusts):
        tree["access"][policy.name] = policy.document
    for account in program.service_accounts:
        tree["access"][f"ServiceAccount/{account.namespace}/{account.name or '(drawn)'}"] = dict(account.annotations)
    for resource in program.resources:
        kind = resource.type.rpartition(":")[2]
        if kind not in SHOWN_ELSEWHERE:
            tree["other resources"][f"{kind}/{resource.name}"] = dict(resource.inputs)
    return tree


SHOWN_ELSEWHERE = {"Release", "ApisixRoute", "HTTPRoute", "Policy", "ServiceAccount", "ConfigGroup"}
"""Kinds of resources that have a section of their own."""


def _of_pipelines(evaluation: Evaluation) -> dict[str, Any]:
    pipelines = evaluation.checked_pipelines()
    tree: dict[str, Any] = {}
    for job in pipelines.build_jobs:
        tree[f"build job {job.image_name}"] = {
            "from": job.repo_uri or f"{job.s3_bucket}/{job.s3_object_path}",
            "pipeline": job.definition,
        }
    for pipeline in pipelines.pipelines:
        tree[" ".join((pipeline.file.rpartition("/")[2], *pipeline.arguments, pipeline.name))] = dict(
            pipeline.definition
        )
    return tree


def _with_stacks(difference: Difference, stacks: Iterable[str]) -> Difference:
    ordered = tuple(stack for stack in STACKS if stack in stacks)
    return Difference(difference.section, difference.where, difference.before, difference.after, ordered)


def _short(text: str) -> str:
    one_line = " ".join(text.split()) or "''"
    return one_line if len(one_line) <= SHOWN else f"{one_line[: SHOWN - 1]}…"


def _short_pair(before: str, after: str) -> tuple[str, str]:
    """Return two values in short, from a little before the place at which they begin to differ."""
    if before.split() == after.split():
        return json.dumps(before), json.dumps(after)
    same = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    cut = max(0, same - SHOWN // 3) if max(len(before), len(after)) > SHOWN else 0
    return (_short(f"…{before[cut:]}"), _short(f"…{after[cut:]}")) if cut else (_short(before), _short(after))


def _lines(before: str, after: str) -> str:
    """Return the changed lines of two texts in short."""
    old, new = before.splitlines(), after.splitlines()
    gone = [line.strip() for line in old if line not in new]
    came = [line.strip() for line in new if line not in old]
    shown = [f"-{_short(line)}" for line in gone[:2]] + [f"+{_short(line)}" for line in came[:2]]
    return f"{len(gone)} lines removed, {len(came)} added: {' '.join(shown) or 'their order'}"
