"""Fixtures that several unit tests share."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.progress import Steps
from harness.drills.promise_index import Promise, promises
from harness.plan.options import read
from harness.plan.plan import Plan, make_plan
from harness.plan.sources.ol_infrastructure import OlInfrastructure
from tests.unit.fakes import FakeDocker

ROOT = Path(__file__).parents[2]


def pytest_configure() -> None:
    # A shell ignores Ctrl-C for what it runs in the background, which all that a test starts would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def suite() -> dict[str, Promise]:
    """The promises in tests/e2e."""
    return promises(ROOT)


@pytest.fixture
def out() -> io.StringIO:
    """What a run has printed."""
    return io.StringIO()


@pytest.fixture
def steps(out: io.StringIO) -> Steps:
    """The steps of a run whose output goes into `out`."""
    return Steps(Console(file=out, width=80))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that no other run uses."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("helm", "images", "courses", "kind-config.yaml", "pyproject.toml"):
        (checkout / name).symlink_to(ROOT / name)
    return checkout


@pytest.fixture
def planned(checkout: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Makes the plan of run jh-1 for options by name, as given in an empty directory."""

    def planned(
        *,
        keep: bool = False,
        environ: dict[str, str] | None = None,
        theirs: OlInfrastructure | None = None,
        **options: str | list[str],
    ) -> Plan:
        given = {name.replace("_", "-"): [it] if isinstance(it, str) else it for name, it in options.items()}
        values = read(lambda option: given.get(option.name, []), {}, lambda _: [])
        environ = {"HARNESS_CACHE": str(tmp_path / "cache")} if environ is None else environ
        plan = make_plan(
            values,
            checkout=checkout,
            cwd=tmp_path,
            environ=environ,
            ol_infrastructure=theirs,
            keep=keep,
            cluster_name="jh-1",
        )
        plan.state.mkdir(exist_ok=True)
        return plan

    return planned


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A docker whose daemon answers; it has what a test gives it."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return FakeDocker(tmp_path / "bin")


@pytest.fixture
def killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """While it is open, a write of a file ends the run in the middle."""

    def write(path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    @contextmanager
    def killed() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", write)
            try:
                yield
            except KeyboardInterrupt:
                return
        raise AssertionError("nothing was written")

    return killed
