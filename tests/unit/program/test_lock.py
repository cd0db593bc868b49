"""Names, versions and hashes are taken from a lock file, for the packages that are imported, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import EnvironmentFault
from harness.program.closure import Imports, Place
from harness.program.lock import LOCK, Lock, Pin, digest, read_lock, requirements

HERE = Place("main.py", 3)
ENVIRONMENT = {"python_full_version": "3.13.5", "sys_platform": "linux"}
HEAD = 'version = 1\nrequires-python = ">=3.13, <3.15"\n'
WHEEL = 'wheels = [{ url = "https://example.org/a.whl", hash = "sha256:aa" }]'
SOURCE = 'sdist = { url = "https://example.org/a.tar.gz", hash = "sha256:bb" }'


def package(name: str, *lines: str, version: str = "1.0", source: str = '{ registry = "https://example.org" }') -> str:
    return "\n".join(["[[package]]", f'name = "{name}"', f'version = "{version}"', f"source = {source}", *lines, ""])


def needs(*dependencies: str) -> str:
    return f"dependencies = [{', '.join(dependencies)}]"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def lock(directory: Path, *packages: str) -> Lock:
    (directory / LOCK).write_text("\n".join([HEAD, *packages]))
    return read_lock(directory)


def names(lock: Lock, *modules: str) -> list[str]:
    found = lock.pins(Imports(frozenset(), dict.fromkeys(modules, HERE)), ENVIRONMENT)
    return [f"{pin.name} {pin.version}" for pin in found]


def test_names_versions_and_hashes_and_no_addresses(directory: Path) -> None:
    read = lock(directory, package("pulumi-aws", SOURCE, WHEEL))
    pins = read.pins(Imports(frozenset(), {"pulumi_aws": HERE}), ENVIRONMENT)
    assert pins == (Pin("pulumi-aws", "1.0", ("sha256:aa",)),)
    assert requirements(pins) == "pulumi-aws==1.0 --hash=sha256:aa\n"


def test_source_only_where_there_is_no_wheel(directory: Path) -> None:
    read = lock(directory, package("old", SOURCE))
    assert read.pins(Imports(frozenset(), {"old": HERE}), ENVIRONMENT) == (
        Pin("old", "1.0", ("sha256:bb",), is_source=True),
    )


def test_only_what_is_imported_and_what_that_needs(directory: Path) -> None:
    read = lock(
        directory,
        package("a", WHEEL, needs('{ name = "b" }')),
        package("b", WHEEL, needs('{ name = "a" }')),
        package("c", WHEEL),
    )
    assert names(read, "a") == ["a 1.0", "b 1.0"]


@pytest.mark.parametrize(
    ("dependency", "found"),
    [
        ('{ name = "b", marker = "sys_platform == \'win32\'" }', ["a 1.0"]),
        ('{ name = "b", marker = "python_full_version >= \'3.13\'" }', ["a 1.0", "b 1.0"]),
        ('{ name = "b", extra = ["more"] }', ["a 1.0", "b 1.0", "c 1.0"]),
    ],
)
def test_markers_and_extras(directory: Path, dependency: str, found: list[str]) -> None:
    more = '[package.optional-dependencies]\nmore = [{ name = "c" }]'
    read = lock(directory, package("a", WHEEL, needs(dependency)), package("b", WHEEL, more), package("c", WHEEL))
    assert names(read, "a") == found


def test_versions_that_differ_between_pythons(directory: Path) -> None:
    old = "resolution-markers = [\"python_full_version < '3.13'\"]"
    new = "resolution-markers = [\"python_full_version >= '3.13'\"]"
    read = lock(directory, package("a", WHEEL, old), package("a", WHEEL, new, version="2.0"))
    assert names(read, "a") == ["a 2.0"]


@pytest.mark.parametrize(("module", "name"), [("yaml", "pyyaml"), ("dateutil", "python-dateutil"), ("a_b", "a-b")])
def test_package_of_a_module(directory: Path, module: str, name: str) -> None:
    assert names(lock(directory, package(name, WHEEL)), module) == [f"{name} 1.0"]


def test_package_that_the_lock_lacks(directory: Path) -> None:
    with pytest.raises(EnvironmentFault) as error:
        names(lock(directory, package("a", WHEEL)), "b")
    assert str(error.value).splitlines()[0] == "main.py, line 3: imports b, for which uv.lock has no package"


def test_package_that_may_be_missing(directory: Path) -> None:
    read = lock(directory, package("a", WHEEL))
    assert [pin.name for pin in read.pins(Imports(frozenset(), {}, {"a": HERE, "b": HERE}), ENVIRONMENT)] == ["a"]


def test_dependency_that_the_lock_lacks(directory: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"main.py, line 3: needs b, which uv.lock lacks\n"):
        names(lock(directory, package("a", WHEEL, needs('{ name = "b" }'))), "a")


@pytest.mark.parametrize("source", ['{ git = "https://example.org/a#1234" }', '{ url = "https://example.org/a.whl" }'])
def test_package_without_a_hash(directory: Path, source: str) -> None:
    with pytest.raises(EnvironmentFault, match=r"main.py, line 3: needs a, which uv.lock takes from somewhere"):
        names(lock(directory, package("a", source=source)), "a")


def test_package_of_older_locks_that_was_published_later(directory: Path) -> None:
    read = lock(
        directory,
        package("parliament", needs('{ name = "b" }'), version="1.7.0", source='{ git = "https://example.org/p#12" }'),
        package("b", WHEEL),
    )
    assert names(read, "parliament") == ["b 1.0", "ol-parliament 1.7.0"]


def test_packages_of_the_checkout_itself(directory: Path) -> None:
    read = lock(
        directory,
        package("whole", source='{ editable = "." }'),
        package("own-sdk", needs('{ name = "a" }'), source='{ editable = "sdks/own" }'),
        package("a", WHEEL),
    )
    assert read.source_roots(directory) == [directory / "sdks/own"]
    assert names(read, "own_sdk") == ["a 1.0"]


def test_key_depends_on_packages_and_python() -> None:
    pins = (Pin("a", "1.0", ("sha256:aa",)),)
    keys = {digest(pins, "3.13.5"), digest(pins, "3.14.0"), digest((), "3.13.5"), digest(pins, "3.13.5")}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "uv.lock: cannot be read: No such file or directory\n"),
        ("version = = 1", "uv.lock: expected a lock file of uv, found no TOML"),
        ("version = 1", "uv.lock: expected a lock file of uv with packages; found none"),
        ('requires-python = "new"\npackage = []', "uv.lock: expected a lock file of uv with packages; found none"),
    ],
)
def test_no_lock(directory: Path, content: str | None, message: str) -> None:
    if content is not None:
        (directory / LOCK).write_text(content)
    with pytest.raises(EnvironmentFault, match=message):
        read_lock(directory)
