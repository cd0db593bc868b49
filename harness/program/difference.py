"""Differences between two evaluations of the owners' program: values, routes, access, pipelines, and what else."""

from __future__ import annotations

import json
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
NAMES = ("name", "key", "id", "mountPath", "get", "put", "task", "hosts", "host", "Sid")
"""Keys by which an entry of a list is known, so that one more entry is one difference."""


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
        return f"{self.where}: {_short(self.before)} → {_short(self.after)}{whose}"


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
        old, new = dict(flat(before.get(section, {}))), dict(flat(after.get(section, {})))
        for where in sorted(old.keys() | new.keys()):
            was, now = old.get(where, ABSENT), new.get(where, ABSENT)
            if was != now:
                found.append(Difference(section, where, was, now))
    return list(_summarised(found))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf of a tree with its path; entries of a list by their name where they have one."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            # The first level is the owner: a release, a route, an object.
            yield from flat(each, f"{path}.{key}" if " " in path or "." in path else f"{path} {key}".strip())
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for name, each in _named(value):
            yield from flat(each, f"{path}[{name}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, default=str)


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
    cut = max(where.rfind("."), where.rfind("["), where.rfind(" "))
    return where[:cut] if cut > 0 else where


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


def _lines(before: str, after: str) -> str:
    """Return the changed lines of two texts in short."""
    old, new = before.splitlines(), after.splitlines()
    gone = [line.strip() for line in old if line not in new]
    came = [line.strip() for line in new if line not in old]
    shown = [f"-{_short(line)}" for line in gone[:2]] + [f"+{_short(line)}" for line in came[:2]]
    return f"{len(gone)} lines removed, {len(came)} added: {' '.join(shown) or 'their order'}"
