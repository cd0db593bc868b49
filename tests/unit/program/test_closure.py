"""The files that a program is made of, found by its imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.program.closure import APPLICATIONS, COURSES_PIPELINE, Place, applications, closure, imports
from harness.program.errors import ProgramError

OURS = Path(__file__).parent / "checkout"
MAIN = APPLICATIONS["jupyterhub"] / "__main__.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose program is a file with nothing in it, beside a module and a package."""
    for file in (MAIN, MAIN.with_name("beside.py"), Path("src/tools/__init__.py"), Path("src/tools/saw.py")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for package in ("src/ol_infrastructure", "src/ol_infrastructure/applications", str(MAIN.parent)):
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def followed(checkout: Path, code: str) -> set[str]:
    """Files that the program imports, without its own."""
    (checkout / MAIN).write_text(code)
    return {str(path.relative_to(checkout / "src")) for path in imports(checkout).files if "tools" in str(path)}


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import tools", {"tools/__init__.py"}),
        ("import tools.saw", {"tools/__init__.py", "tools/saw.py"}),
        ("from tools import saw", {"tools/__init__.py", "tools/saw.py"}),
        ("from tools.saw import blade", {"tools/__init__.py", "tools/saw.py"}),
        ("def f():\n    from tools import saw", {"tools/__init__.py", "tools/saw.py"}),
        ("from tools import nothing", {"tools/__init__.py"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tools", set()),
    ],
)
def test_imports_of_the_checkout(checkout: Path, code: str, files: set[str]) -> None:
    assert followed(checkout, code) == files


@pytest.mark.parametrize("code", ["from . import beside", "from .beside import x"])
def test_relative_imports(checkout: Path, code: str) -> None:
    (checkout / MAIN).write_text(code)
    assert checkout / MAIN.with_name("beside.py") in imports(checkout).files


@pytest.mark.parametrize(
    ("code", "required", "optional"),
    [
        ("import json, pulumi_aws.iam", {"pulumi_aws": 1}, {}),
        ("\nfrom yaml import safe_load", {"yaml": 2}, {}),
        ("try:\n    import yaml\nexcept ImportError:\n    pass", {}, {"yaml": 2}),
        ("def f():\n    import yaml\nimport yaml", {"yaml": 3}, {}),
        ("import tools.nothing", {}, {}),
    ],
)
def test_imports_of_others(checkout: Path, code: str, required: dict[str, int], optional: dict[str, int]) -> None:
    (checkout / MAIN).write_text(code)
    found = imports(checkout)
    assert found.required == {name: Place(str(MAIN), line) for name, line in required.items()}
    assert found.optional == {name: Place(str(MAIN), line) for name, line in optional.items()}


def test_package_that_is_partly_the_checkouts(checkout: Path) -> None:
    (checkout / "src/ol_concourse/pipelines").mkdir(parents=True)
    (checkout / "src/ol_concourse/pipelines/names.py").touch()
    (checkout / MAIN).write_text("import ol_concourse.pipelines.names\nimport ol_concourse.lib.models\n")
    found = imports(checkout)
    assert checkout / "src/ol_concourse/pipelines/names.py" in found.files
    assert found.required == {"ol_concourse": Place(str(MAIN), 2)}


def test_file_that_is_not_python(checkout: Path) -> None:
    (checkout / MAIN).write_text("import tools\nx = = 1\n")
    with pytest.raises(ProgramError) as error:
        imports(checkout)
    assert str(error.value) == f"{MAIN}, line 2: not Python: invalid syntax\n  | x = = 1"


def test_directory_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=f"expected a file {MAIN}, found none\n"):
        imports(tmp_path)


def test_closure_of_ours() -> None:
    found = {str(path) for path in closure(OURS)}
    assert {
        str(MAIN),
        str(MAIN.with_name("welcome.json")),
        str(MAIN.with_name("Pulumi.QA.yaml")),
        str(COURSES_PIPELINE),
        "src/ol_infrastructure/lib/kinds.py",
        "src/ol_infrastructure/infrastructure/aws/eks/Pulumi.applications.QA.yaml",
    } <= found
    assert "uv.lock" not in found
    assert applications(OURS) == ["jupyterhub", "jupyterhub_data"]
