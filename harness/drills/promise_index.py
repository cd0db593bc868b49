"""The promises in tests/e2e: which there are, what they ask of a deployment, and how to run them in another process.

Read from the source, so that nothing is imported and pytest is not needed.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.base.files import parse_python
from harness.plan.plan import Plan

SUITE = "tests/e2e"
FIRST_TEST = "test_hub_health.py::test_both_hubs_are_healthy"
"""The lightest test there is: whether the hubs answer."""
PEOPLE = {"visit", "visit_together", "student_class", "author", "browser", "scaled"}
"""Fixtures by which servers start."""
RUNNING = {"target", "private_copy", "deployment", "cluster", "hub", "authoring_hub", "registry", "aws", "database"}
"""Fixtures by which something is asked that runs."""
SLOW = "scaled"
"""The fixture in which servers live under the culler to their end."""
NOT_OF_THE_DEPLOYMENT = {"given_notebook", "builtin_chart"}
"""Fixtures of tests that say nothing of the deployment: of somebody's course, and of the built-in chart."""


class Layer(StrEnum):
    """What has to be there before a promise can be checked; the cheapest first."""

    RENDERED = "rendered"
    """The objects that Helm renders, and nothing that runs."""
    ASKED = "asked"
    """A hub, a spawner or a registry is asked, and nobody's server starts."""
    LIVE = "live"
    """Somebody's server."""


@dataclass(frozen=True)
class Promise:
    """One test function, whatever it is parametrized with.

    Attributes:
        test: as people name it, `test_file.py::test_function`.
        says: the first line of its docstring.
        slow: whether servers live under the culler for it.
    """

    test: str
    says: str
    layer: Layer
    slow: bool

    @property
    def cost(self) -> tuple[bool, int, str]:
        """What promises are sorted by, the cheapest first; those of one file stay together."""
        return self.slow, list(Layer).index(self.layer), self.test


def promises(checkout: Path) -> dict[str, Promise]:
    """The promises about the deployment, by test. Known defects are none: they are never red.

    Raises:
        HarnessError: a file of the suite is not Python.
    """
    shared = _fixtures(*(parse_python(path, "fixtures") for path in sorted(checkout.glob("fixtures/*.py"))))
    found = {}
    for path in sorted(checkout.glob(f"{SUITE}/test_*.py")):
        tree = parse_python(path, "tests")
        fixtures = {**shared, **_fixtures(tree)}
        for place, test in _tests(tree):
            uses = _closure(_asked_for(test), fixtures)
            if _marked(test, "known_defect") or uses & NOT_OF_THE_DEPLOYMENT:
                continue
            layer = Layer.LIVE if uses & PEOPLE else Layer.ASKED if uses & RUNNING else Layer.RENDERED
            says = inspect.cleandoc(ast.get_docstring(test) or test.name).splitlines()[0]
            name = f"{path.name}::{place}{test.name}"
            found[name] = Promise(name, says, layer, SLOW in uses)
    return found


def function_of(test: str) -> str:
    """A test without its parameters: `test_file.py::test_function`."""
    return test.partition("[")[0]


def arguments(plan: Plan) -> list[str]:
    """What a pytest of its own is told, so that it runs on the deployment that a plan keeps."""
    given = [
        "--keep-cluster",
        "--cluster-name",
        plan.name,
        "--chart",
        plan.chart,
        "--artifacts",
        plan.artifacts,
        "--kubernetes",
        plan.kubernetes,
    ]
    given += ["--spawner", str(plan.spawner)]
    given += [f"--values={path}" for path in plan.values]
    given += [f"--authoring-values={path}" for path in plan.authoring_values]
    given += [f"--ol-infrastructure={plan.ol_infrastructure.checkout}"] if plan.ol_infrastructure else []
    given += [f"--mirror={name}={place}" for name, place in plan.mirrors.items()]
    return [*given, f"--hub-port={plan.hub_port}", f"--authoring-port={plan.authoring_port}"]


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _tests(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Test functions, each with the class before its name if it is in one."""
    for node in tree.body:
        place = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                yield place, each


def _fixtures(*trees: ast.Module) -> dict[str, set[str]]:
    """Fixtures by name, each with those that it asks for itself."""
    return {each.name: _asked_for(each) for tree in trees for each in _functions(tree) if _marked(each, "fixture")}


def _marked(function: ast.FunctionDef, mark: str) -> bool:
    return any(f".{mark}" in ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list)


def _asked_for(function: ast.FunctionDef) -> set[str]:
    names = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(".usefixtures"):
            names |= {str(ast.literal_eval(argument)) for argument in decorator.args}
    return names


def _closure(names: set[str], fixtures: Mapping[str, set[str]]) -> set[str]:
    """Fixtures, and all that they ask for in their turn."""
    found, left = set(names), list(names)
    while left:
        more = fixtures.get(left.pop(), set()) - found
        found |= more
        left += more
    return found
