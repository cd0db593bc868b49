"""The files that the owners' programs and pipelines are made of, found by their imports. Nothing is run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.program.errors import ProgramError

SOURCE = Path("src")
APPLICATIONS = {
    "jupyterhub": SOURCE / "ol_infrastructure/applications/jupyterhub",
    "jupyterhub_data": SOURCE / "ol_infrastructure/applications/jupyterhub_data",
}
"""Directory of each Pulumi program, in a checkout of mitodl/ol-infrastructure."""
CLUSTERS = SOURCE / "ol_infrastructure/infrastructure/aws/eks"
"""Directory of the program that makes the clusters; its stack files list their namespaces."""
KEYCLOAK = SOURCE / "ol_infrastructure/substructure/keycloak"
"""Directory of the program that tells Keycloak of the hubs; its stack files list where a login may return to."""
PIPELINE_DIRECTORY = SOURCE / "ol_concourse/pipelines"
COURSES_PIPELINE = PIPELINE_DIRECTORY / "container_images/jupyter_courses.py"
HUB_PIPELINES = PIPELINE_DIRECTORY / "infrastructure/jupyterhub"
"""Directory of the pipelines that deploy the two hubs and that publish their extensions."""
SIMPLE_PIPELINES = PIPELINE_DIRECTORY / "infrastructure/simple_pulumi"
"""Directory of the pipeline that deploys applications of no special kind, the data hub among them."""
NOT_PIPELINES = ("__init__.py", "meta.py")
"""Files beside pipelines that are none; the last one sets up the others, by their names alone."""


@dataclass(frozen=True)
class Place:
    """A line of one of the owners' files, which is named from the checkout's root."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class Imports:
    """The import closure of some files.

    Attributes:
        files: Python files of the checkout.
        required: top-level modules that are not the checkout's and without which an import fails, and one place that
            imports each.
        optional: the same, of imports that may never run or may fail: in a function, or in a try.
    """

    files: frozenset[Path]
    required: dict[str, Place] = field(default_factory=dict)
    optional: dict[str, Place] = field(default_factory=dict)


def closure(checkout: Path, application: str = "") -> set[Path]:
    """Return the files whose change can change an evaluation, relative to the checkout.

    These are the import closure, all that lies beside the programs (settings, policies, stack files), and the stack
    files of the clusters. Encrypted secrets and the lock file are not among them.

    Args:
        application: the one whose program alone is evaluated; without it, both, and the pipelines.

    Raises:
        ProgramError: a file is not Python.
    """
    directories = [APPLICATIONS[application]] if application else list(APPLICATIONS.values())
    beside = {path for directory in directories for path in (checkout / directory).glob("*")}
    stacks = set((checkout / CLUSTERS).glob("Pulumi.*.yaml"))
    begins = [checkout / APPLICATIONS[application] / "__main__.py"] if application else entries(checkout)
    found = imports(checkout, begins=begins).files | beside | stacks
    return {path.relative_to(checkout) for path in found if path.is_file()}


def entries(checkout: Path) -> list[Path]:
    """Return the files that a checkout's programs and pipelines begin with; older checkouts lack some of them."""
    programs = [checkout / directory / "__main__.py" for directory in APPLICATIONS.values()]
    beside = [*(checkout / HUB_PIPELINES).glob("*.py"), *(checkout / SIMPLE_PIPELINES).glob("*pipeline.py")]
    pipelines = [checkout / COURSES_PIPELINE, *sorted(path for path in beside if path.name not in NOT_PIPELINES)]
    return [path for path in (*programs, *pipelines) if path.is_file()]


def applications(checkout: Path) -> list[str]:
    """Return the applications that a checkout has; older commits lack the data hub."""
    return [name for name, directory in APPLICATIONS.items() if (checkout / directory / "__main__.py").is_file()]


def imports(checkout: Path, roots: Iterable[Path] = (), begins: Iterable[Path] = ()) -> Imports:
    """Follow the imports of all programs and pipelines.

    Args:
        roots: directories with modules of the checkout, beside `src`.
        begins: files to begin with, in place of all programs and pipelines.

    Raises:
        ProgramError: a file is not Python, or the checkout has no JupyterHub application.
    """
    if not (checkout / APPLICATIONS["jupyterhub"] / "__main__.py").is_file():
        raise ProgramError(
            f"{checkout}: expected a file {APPLICATIONS['jupyterhub'] / '__main__.py'}, found none\n"
            "Is this a checkout of mitodl/ol-infrastructure?"
        )
    return _Walk(checkout, [checkout / SOURCE, *roots]).follow(list(begins) or entries(checkout))


class _Walk:
    def __init__(self, checkout: Path, roots: list[Path]) -> None:
        self._checkout = checkout
        self._roots = roots
        self._required: dict[str, Place] = {}
        self._optional: dict[str, Place] = {}

    def follow(self, entries: list[Path]) -> Imports:
        seen: set[Path] = set()
        waiting = list(entries)
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += self._imported_by(path)
        optional = {name: place for name, place in self._optional.items() if name not in self._required}
        return Imports(frozenset(seen), dict(sorted(self._required.items())), dict(sorted(optional.items())))

    def _imported_by(self, path: Path) -> Iterator[Path]:
        """Yield the checkout's files that a file imports, and note which modules are of others."""
        name = str(path.relative_to(self._checkout))
        for node, certain in _import_statements(_parse(path, name)):
            place = Place(name, node.lineno)
            for module in self._modules(path, node):
                found = list(self._files(module))
                yield from found
                if not found:
                    self._note(module, place, certain=certain)

    def _modules(self, path: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Yield the dotted names that a statement imports; of `from a import b`, a.b where it is a module, else a."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            return
        package = node.module or ""
        if node.level:
            package = ".".join([*self._package_of(path, node.level), *([package] if package else [])])
        submodules = [name for alias in node.names if self._is_module(name := f"{package}.{alias.name}")]
        yield from submodules or [package]

    def _package_of(self, path: Path, level: int) -> list[str]:
        """Return the parts of the package that a relative import starts from."""
        root = next(root for root in self._roots if path.is_relative_to(root))
        parts = list(path.relative_to(root).parts)
        return parts[: len(parts) - level]

    def _is_module(self, module: str) -> bool:
        return any(self._module_file(root, module.split(".")) for root in self._roots)

    def _files(self, module: str) -> Iterator[Path]:
        """Yield the files that are run when a module of the checkout is imported; none if it is not the checkout's."""
        parts = module.split(".")
        for root in self._roots:
            if self._module_file(root, parts) or (root.joinpath(*parts).is_dir()):
                for length in range(1, len(parts) + 1):
                    if found := self._module_file(root, parts[:length]):
                        yield found
                return

    @staticmethod
    def _module_file(root: Path, parts: list[str]) -> Path | None:
        base = root.joinpath(*parts)
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return path
        return None

    def _note(self, module: str, place: Place, *, certain: bool) -> None:
        top = module.partition(".")[0]
        if not top or top in sys.stdlib_module_names or self._is_module(top):
            return
        (self._required if certain else self._optional).setdefault(top, place)


def _parse(path: Path, name: str) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=name)
    except SyntaxError as error:
        raise ProgramError(f"{name}, line {error.lineno}: not Python: {error.msg}\n{_quoted(error)}") from error
    except ValueError as error:
        raise ProgramError(f"{name}: not Python: {error}") from error


def _quoted(error: SyntaxError) -> str:
    return f"  | {(error.text or '').strip()}"


def _import_statements(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import that can run, and true of those that run, and must succeed, when the file does."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, certain = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, certain
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += [(each, certain) for each in node.orelse]
            continue
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
        waiting += [(child, certain and not deferred) for child in ast.iter_child_nodes(node)]


def stacks_of(checkout: Path) -> set[str]:
    """Return the stacks of all programs in a checkout, each as project and stack: ol-infrastructure-eks/data.CI.

    A stack's file may have the project's prefix before the stack's name, or only its last part.
    """
    found = set()
    for file in (checkout / SOURCE).rglob("Pulumi.yaml"):
        project = next(
            (line.partition(":")[2].strip() for line in file.read_text().splitlines() if line.startswith("name:")), ""
        )
        for stack in file.parent.glob("Pulumi.*.yaml"):
            found.add(f"{project}/{stack.name.removeprefix('Pulumi.').removesuffix('.yaml')}")
    return found


def settings_of(directory: Path, stack: str) -> dict[str, Any]:
    """Return the configuration of a program for a stack, as its stack file has it.

    Args:
        directory: of the program.

    Raises:
        ProgramError: there is no such file.
    """
    content = yaml.safe_load(stack_file(directory, stack).read_text(encoding="utf-8"))
    return dict(content.get("config") or {})


def stack_file(directory: Path, stack: str) -> Path:
    """Return the file of a stack; older commits put the project's prefix before the stack's name."""
    files = sorted(directory.glob("Pulumi.*.yaml"))
    for path in files:
        if path.name.lower().endswith(f".{stack.lower()}.yaml"):
            return path
    names = ", ".join(path.name for path in files) or "none"
    raise ProgramError(
        f"{directory}: expected a file Pulumi.{stack}.yaml, found {names}\n"
        "A stack is evaluated with the configuration that this file has."
    )
