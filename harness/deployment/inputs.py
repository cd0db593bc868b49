"""The inputs of a deployment that people edit, and where two states of them differ."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.base.digest import fingerprint
from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.charts.values import merge_values
from harness.courses.images import course_repositories
from harness.deployment.gate import gate_routes, written
from harness.plan.plan import Plan

INPUTS = "inputs.json"
"""The file beside a kept copy, in the run's state directory."""
ELSEWHERE = "chart or artifacts"
"""The place of everything that is no edit of values, spawner, gate or a course."""


@dataclass(frozen=True)
class Inputs:
    """Everything that people edit of what a copy is made of.

    Attributes:
        values: merged, by the hub that they are for: students, authors.
        gate: the gate's routes, by the hub that they are for.
        courses: a digest of each file of a course's repository, by tag and path.
        rest: fingerprint of the rest.
    """

    values: Mapping[str, dict[str, Any]]
    gate: Mapping[str, Any]
    spawner: str
    courses: Mapping[str, dict[str, str]]
    rest: str

    def write(self, state: Path) -> None:
        """Keep the inputs in the state directory of a run."""
        (state / INPUTS).write_bytes(TypeAdapter(Inputs).dump_json(self, fallback=str))


def read_inputs(plan: Plan) -> Inputs:
    """Return what a plan would make a copy of.

    Raises:
        HarnessError: a file cannot be read.
    """
    chart = Path(plan.chart) if Path(plan.chart).is_absolute() else plan.checkout / "helm/jupyterhub"
    values = {"students": merge_values(plan.values), "authors": merge_values(plan.authoring_values)}
    return Inputs(
        # As JSON has them, for what was kept is compared with it.
        json.loads(json.dumps(values, default=str)),
        _routes(plan),
        read_text(plan.spawner, "--spawner"),
        {tag: dict(_digests(path)) for tag, path in course_repositories(plan).items()},
        fingerprint([plan.chart, plan.artifacts, plan.kubernetes, chart]),
    )


def _routes(plan: Plan) -> dict[str, Any]:
    try:
        return written(gate_routes(plan))
    except HarnessError as error:
        # The tests of the gate report it, and a run without them needs no routes.
        return {"broken": str(error)}


def kept_inputs(state: Path) -> Inputs | None:
    """Return the inputs of the copy that was kept; None where there is none, or an older harness wrote it."""
    try:
        return TypeAdapter(Inputs).validate_json((state / INPUTS).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def changed_places(before: Inputs, after: Inputs) -> set[str]:
    """Return where inputs differ.

    A place is a key of values ("students: cull.timeout"), one of a route of the gate, to either hub
    ("gate: plugins.openid-connect.scope"), what a statement of the spawner sets ("spawner: self.image"),
    a kind of file of a course ("course TAG: Dockerfile"), or ELSEWHERE.
    """
    found = {ELSEWHERE} if before.rest != after.rest else set()
    for hub in before.values:
        found |= {f"{hub}: {path}" for path in _changed_keys(before.values[hub], after.values.get(hub))}
    for hub in before.gate.keys() | after.gate.keys():
        found |= {f"gate: {path}" for path in _changed_keys(before.gate.get(hub), after.gate.get(hub))}
    found |= changed_statements(before.spawner, after.spawner)
    for tag in before.courses.keys() | after.courses.keys():
        old, new = before.courses.get(tag, {}), after.courses.get(tag, {})
        found |= {course_place(tag, name) for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return found


def course_place(tag: str, file: str) -> str:
    """Return the place of a file of a course: notebooks are one, as are files of any other kind."""
    return f"course {tag}: {Path(file).suffix or Path(file).name}"


NO_PYTHON = "spawner: what is no Python"


def changed_statements(before: str, after: str) -> set[str]:
    """Return what the statements set that two states of a spawner do not have in common."""
    try:
        old, new = (Counter(_statements(ast.parse(text).body, "")) for text in (before, after))
    except SyntaxError:
        # A place that no drill knows, so that everything is asked.
        return {NO_PYTHON} if before != after else set()
    return {f"spawner: {place}" for place, _ in (old - new) + (new - old)}


def _statements(body: Iterable[ast.AST], function: str) -> Iterator[tuple[str, str]]:
    """Yield each simple statement and each head of a compound one: the place that it is about, and its code."""
    for node in body:
        inner = [each for part in ("body", "orelse", "finalbody", "handlers") for each in getattr(node, part, [])]
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            function = f"{node.name}()" if not isinstance(node, ast.ClassDef) else ""
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        place = ", ".join(map(ast.unparse, filter(None, targets))) if not inner else ""
        if inner:
            head = [child for child in ast.iter_child_nodes(node) if child not in inner]
            yield function or ast.unparse(node).partition("\n")[0], "; ".join(map(ast.dump, head))
            yield from _statements(inner, function)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
            yield place or function or ast.unparse(node).partition("(")[0], ast.dump(node)


def _changed_keys(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield path
        return
    for key in before.keys() | after.keys():
        step = str(key).replace(".", r"\.")
        yield from _changed_keys(before.get(key), after.get(key), f"{path}.{step}" if path else step)


def _digests(repository: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(repository.rglob("*")):
        if file.is_file() and ".git" not in file.relative_to(repository).parts:
            yield str(file.relative_to(repository)), fingerprint([file])
