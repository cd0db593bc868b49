"""The runs on this machine: found by Docker's labels, and removed unless somebody uses them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.cli import main as command
from harness.deployment.teardown import remove_left
from harness.host import runs
from harness.host.identity import identity
from tests.unit.fakes import Program

HOST = socket.gethostname()
NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
DOCKER = """
case "$*" in
  version*) echo 28 ;;
  "network ls"*label=*) cat "$here/labelled" ;;
  "network ls"*) cut -f1 "$here/labelled" ;;
  "network rm "*) grep -v "^$3	" "$here/labelled" > "$here/rest"; mv "$here/rest" "$here/labelled" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A docker with the networks of runs: kept, its checkout gone, killed, and of an older harness."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    fake = Program(tmp_path / "bin", "docker", DOCKER)
    for name in ("kept", "killed"):
        (tmp_path / name / ".harness").mkdir(parents=True)
        (tmp_path / name / ".harness/secrets.json").touch()
    lines = [
        f"jh-1\t{tmp_path}/kept\tyes\t{identity(tmp_path / 'kept')}\t{HOST}\t2026-02-01 11:30:00.123456789 +0000 UTC\n",
        f"jh-2\t{tmp_path}/gone\tyes\t0123\t{HOST}\t2026-01-01 12:00:00 +0000 UTC\n",
        f"jh-3\t{tmp_path}/killed\tno\t{identity(tmp_path / 'killed')}\t{HOST}\t2026-02-01 04:00:00 +0100 CET\n",
        "jh-4\t\t\t\t\t2026-02-01 11:50:00 +0000 UTC\n",
    ]
    (tmp_path / "bin/labelled").write_text("".join(lines))
    return fake


@pytest.mark.usefixtures("docker")
class TestRuns:
    def test_oldest_first(self, tmp_path: Path) -> None:
        assert [str(run) for run in runs.all_runs(NOW)] == [
            f"jh-2           orphaned   31 days  {tmp_path}/gone",
            f"jh-3           orphaned       9 h  {tmp_path}/killed",
            f"jh-1           kept        30 min  {tmp_path}/kept",
            "jh-4           unknown     10 min  ?",
        ]

    @pytest.mark.parametrize("place", ["kept", "gone"])
    def test_one_of_another_container(self, tmp_path: Path, place: str) -> None:
        """It may be in use: its lock is not in the checkout that happens to be at that path here."""
        line = f"jh-5\t{tmp_path}/{place}\tno\tanother\tsomebox\t2026-02-01 11:00:00 +0000 UTC\n"
        (tmp_path / "bin/labelled").write_text(line)
        [run] = runs.all_runs(NOW)
        assert (run.state, run.directory) == (runs.UNKNOWN, None)
        assert str(run) == f"jh-5           unknown     60 min  {tmp_path}/{place} on somebox"

    def test_one_of_another_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may be in use: nothing can be told of its directory, and it is not removed."""

        def refuse(path: Path) -> Iterator[Path]:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "iterdir", refuse)
        states = {run.name: run.state for run in runs.all_runs(NOW)}
        assert states == dict.fromkeys(states, runs.UNKNOWN)
        [kept] = [run for run in runs.all_runs(NOW) if run.name == "jh-1"]
        assert str(kept).endswith(f"  {tmp_path}/kept"), "it is on this host"
        with pytest.raises(HarnessError, match=f"jh-1 is another user's: {tmp_path}/kept cannot be read"):
            remove_left([kept], Steps(Console(quiet=True)))

    def test_one_of_an_older_harness(self, tmp_path: Path) -> None:
        line = f"jh-5\t{tmp_path}/kept\tyes\t\t\t2026-02-01 11:00:00 +0000 UTC\n"
        (tmp_path / "bin/labelled").write_text(line)
        [run] = runs.all_runs(NOW)
        assert run.state == runs.KEPT

    def test_one_that_is_under_way(self, tmp_path: Path) -> None:
        with runs.held(tmp_path / "kept/.harness", "jh-1"):
            assert {run.name: run.state for run in runs.all_runs(NOW)}["jh-1"] == runs.IN_USE

    def test_those_beside_another(self, tmp_path: Path) -> None:
        with runs.held(tmp_path / "kept/.harness", "jh-1"):
            assert runs.beside("jh-3") == [
                f"jh-2, orphaned, {tmp_path}/gone ('tox -e down -- jh-2' removes it)",
                f"jh-1, in use, {tmp_path}/kept",
                "jh-4, unknown, ? ('tox -e down -- jh-4' removes it)",
            ]

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(
            HarnessError, match=r"\AThere is no run jh-9 on this machine\. There are: jh-2, jh-3, jh-1, jh-4\Z"
        ):
            runs.find("jh-9")

    def test_no_docker(self, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "docker", "exit 1")
        with pytest.raises(HarnessError, match="does not answer"):
            runs.all_runs()


@pytest.mark.usefixtures("docker")
class TestCommands:
    def removed(self, docker: Program) -> list[str]:
        return [call for call in docker.calls if " rm " in f" {call} "]

    def test_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["runs"]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["jh-2", "jh-3", "jh-1", "jh-4"]

    def test_none(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "bin/labelled").write_text("")
        assert command.main(["runs"]) == 0
        assert capsys.readouterr().out == "No run has anything on this machine.\n"

    def test_down_by_name(self, docker: Program, tmp_path: Path) -> None:
        assert command.main(["down", "jh-1"]) == 0
        assert self.removed(docker) == ["network rm jh-1"]
        assert [path.name for path in (tmp_path / "kept/.harness").iterdir()] == ["lock"]
        assert (tmp_path / "killed/.harness/secrets.json").exists()

    def test_down_all_leaves_who_is_at_work(
        self, docker: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with runs.held(tmp_path / "kept/.harness", "jh-1"):
            assert command.main(["down", "--all"]) == 0
        assert self.removed(docker) == ["network rm jh-2", "network rm jh-3"]
        kept, unknown = capsys.readouterr().out.splitlines()[-2:]
        assert kept.endswith(f"{tmp_path}/kept: not removed")
        assert unknown.endswith("?: not removed")

    def test_down_by_name_of_an_older_harness_touches_nobodys_files(
        self, docker: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path / "killed")
        assert command.main(["down", "jh-4"]) == 0
        assert self.removed(docker) == ["network rm jh-4"]
        assert (tmp_path / "killed/.harness/secrets.json").exists()

    def test_down_by_name_of_one_that_is_under_way(
        self, docker: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with runs.held(tmp_path / "kept/.harness", "jh-1"):
            assert command.main(["down", "jh-1"]) == 1
        assert capsys.readouterr().err.startswith("error: Another run of this checkout is under way (jh-1)")
        assert self.removed(docker) == []
