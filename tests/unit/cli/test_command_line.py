"""The command line: help without Docker, and bad input as a message instead of a traceback."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.shell import CommandError, run
from harness.base.signals import threads
from harness.base.wait import NotYet, wait_until
from harness.cli import main as command
from harness.deployment import boot, teardown
from harness.plan.options import OPTIONS
from tests.unit.fakes import Program

ROOT = Path(__file__).parents[3]
SECONDS = 60
"""Most that an answer without a cluster may take; a loaded machine included."""


Answers = dict[tuple[str, ...], tuple[int, str]]

PYTEST = ("pytest", "-p", "no:cacheprovider")
HELP = (*PYTEST, "--help")
COLLECT = (*PYTEST, "--collect-only", "-q", "tests/e2e")
MARKERS = (*PYTEST, "--markers")
BAD_OPTION = (*PYTEST, "tests/e2e", "--spawner=nowhere.py")
HARNESS_HELP = ("harness", "--help")
HARNESS_BAD_OPTION = ("harness", "up", "--hub-port=http")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Exit code and output of each command, all run at once where the only program is a docker nobody should call."""
    home = tmp_path_factory.mktemp("home")
    docker = Program(home / "bin", "docker", "exit 1")
    running = {
        command: subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={"PATH": f"{home}/bin", "HOME": str(home), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in (HELP, COLLECT, MARKERS, BAD_OPTION, HARNESS_HELP, HARNESS_BAD_OPTION)
    }
    try:
        found = {command: (process.communicate(timeout=SECONDS)[0], process) for command, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    assert docker.calls == []
    assert [path.name for path in home.iterdir()] == ["bin"], "nothing is left in the person's home"
    return {command: (process.returncode, output) for command, (output, process) in found.items()}


class TestWithoutDocker:
    def test_help(self, answers: Answers) -> None:
        code, out = answers[HELP]
        assert code == 0
        for option in OPTIONS:
            assert f"  {option.flag}={option.metavar}" in out
            assert option.env in out
            assert re.search(rf"^  {option.ini} \(linelist\)", out, re.MULTILINE)

    def test_collect_only(self, answers: Answers) -> None:
        code, out = answers[COLLECT]
        assert code == 0
        assert "tests/e2e/test_hub_health.py::" in out
        assert re.search(r"^\d+ tests collected in ", out, re.MULTILINE)

    def test_markers(self, answers: Answers) -> None:
        code, out = answers[MARKERS]
        assert code == 0
        assert "@pytest.mark.timeout(" in out

    def test_help_of_the_harness(self, answers: Answers) -> None:
        code, out = answers[HARNESS_HELP]
        assert code == 0
        for name in ("up", "down", "runs", "build", "bench", "lint"):
            assert re.search(rf"^    {name} ", out, re.MULTILINE)


def test_tests_of_a_checkout_that_an_option_names_are_left_alone(tmp_path: Path) -> None:
    """pytest loads the conftest.py of a directory that it takes for one of tests."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text("raise SystemExit('loaded')")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/e2e/test_hub_health.py"]
    done = subprocess.run(
        [*command, "--chart", tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class TestBadOption:
    def test_pytest(self, answers: Answers) -> None:
        code, out = answers[BAD_OPTION]
        assert code == pytest.ExitCode.USAGE_ERROR
        errors = [line for line in out.splitlines() if "error" in line.lower()]
        assert len(errors) == 1
        assert f"error: --spawner {ROOT}/nowhere.py: cannot be read: No such file or directory" in errors[0]
        assert "Traceback" not in out

    def test_harness(self, answers: Answers) -> None:
        assert answers[HARNESS_BAD_OPTION] == (
            1,
            "error: --hub-port http: expected a port from 1 to 65535, or 0 for any free one\n",
        )


@pytest.fixture
def at_home(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that no other run uses, as the one that the commands are of."""
    monkeypatch.setattr(command, "CHECKOUT", checkout)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS:
        monkeypatch.delenv(option.env, raising=False)
    return checkout


@pytest.mark.usefixtures("at_home")
class TestMain:
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--artifacts", "download"], "error: --artifacts download: expected one of auto, pull, build\n"),
            (["--mirror", "quay.io"], "error: --mirror quay.io: expected UPSTREAM=LOCATION"),
            (["--chart", "./none"], "/none is no chart: it has no Chart.yaml"),
            (["--values", "bad.yaml"], "bad.yaml, line 2: not YAML: "),
            (["--spawner", "bad.py"], "bad.py, line 1: not Python: invalid syntax\n  | class\n"),
            (["--course", "a=one", "--course", "a=two"], "error: --course a=two: another --course has the tag a."),
        ],
    )
    @pytest.mark.parametrize("name", ["up", "down", "bench", "lint"])
    def test_bad_option(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, args: list[str], message: str
    ) -> None:
        (tmp_path / "bad.yaml").write_text("hub:\n\t1")
        (tmp_path / "bad.py").write_text("class\n")
        assert command.main([name, *args]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert len(err.splitlines()) <= 2

    @pytest.mark.parametrize("name", ["up", "bench", "lint", "drills"])
    def test_no_such_course(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        for started in ("up", "bench", "lint", "drills"):
            monkeypatch.setattr(command, started, lambda *_: pytest.fail("it has started"))
        assert command.main([name, "--course", "nowhere"]) == 1
        assert capsys.readouterr().err == (
            f"error: --course nowhere: {tmp_path}/nowhere does not exist. Expected a directory or a git URL\n"
        )

    def test_a_run_is_removed_though_its_course_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        removed: list[Any] = []
        monkeypatch.setattr(teardown, "remove", lambda plan, _: removed.append(plan.courses))
        assert command.main(["down", "--course", "nowhere"]) == 0
        assert removed == [()]

    def test_a_run_is_removed_though_a_file_of_the_environment_is_gone(
        self, at_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (at_home / "pyproject.toml").unlink()
        (at_home / "pyproject.toml").write_text('[tool.pytest.ini_options]\nharness_authoring_values = "nowhere"\n')
        removed: list[Any] = []
        monkeypatch.setattr(teardown, "remove", lambda plan, _: removed.append(plan.name))
        for name in ("SPAWNER", "VALUES", "OL_INFRASTRUCTURE"):
            monkeypatch.setenv(f"HARNESS_{name}", "nowhere")
        assert command.main(["down"]) == 0
        assert len(removed) == 1

    def test_the_end_of_a_command_ends_the_programs_of_its_threads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python waits for its threads, and each of these for a download."""
        began = tmp_path / "began"

        def booted(*_: Any) -> None:
            download = ["sh", "-c", f"touch {began}; exec sleep {SECONDS}"]
            with threads(1) as pool:
                downloads.append(pool.submit(run, download, timeout=SECONDS))
                wait_until("the download", lambda: began.exists() or NotYet("not begun"), timeout=SECONDS)
                raise KeyboardInterrupt

        downloads: list[Future[str]] = []
        monkeypatch.setattr(boot, "boot", booted)
        assert command.main(["up"]) == 130
        assert isinstance(downloads[0].exception(SECONDS / 2), CommandError)

    def test_a_fault_of_the_environment_has_an_exit_code_of_its_own(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise EnvironmentFault("The disk is full.")

        monkeypatch.setattr(boot, "boot", fail)
        assert command.main(["up"]) == 10
        assert capsys.readouterr().err == "error: The disk is full.\n"

    def test_no_docker_and_no_right_to_install(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
        monkeypatch.setattr("harness.host.requirements.SYSTEM_PATH", "")
        assert command.main(["up", "--install", "never", "--artifacts", "build"]) == 10
        lacks, do = capsys.readouterr().err.splitlines()
        assert lacks.startswith("error: This machine lacks docker (")
        assert "(--install never). Get it: this system's packages like Debian's chromium " in do

    def test_interrupt(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(teardown, "remove", interrupted)
        assert command.main(["down"]) == 130
        assert capsys.readouterr().err == "interrupted\n"

    def test_another_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        plan = command.plan_from(argparse.Namespace(**parsed("down")))
        with boot.only_run(plan):
            assert command.main(["down"]) == 1
        assert capsys.readouterr().err.startswith("error: Another run of this checkout is under way (jh-")

    def test_up_keeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: list[bool] = []

        def booted(plan: Any, steps: Any) -> None:
            kept.append(plan.keep)
            raise HarnessError("far enough")

        monkeypatch.setattr(boot, "boot", booted)
        assert command.main(["up"]) == 1
        assert kept == [True]

    def test_environment(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HARNESS_INSTALL", "perhaps")
        monkeypatch.setattr(command, "lint", lambda *_: None)
        assert command.main(["lint"]) == 1
        assert capsys.readouterr().err == "error: --install perhaps: expected one of auto, never\n"

    def test_ini(self, at_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "lint", lambda *_: None)
        (at_home / "pyproject.toml").unlink()
        (at_home / "pyproject.toml").write_text('[tool.pytest.ini_options]\nharness_hub_port = "x"\n')
        assert command.main(["lint"]) == 1
        assert "error: --hub-port x: expected a port" in capsys.readouterr().err


def parsed(name: str) -> dict[str, Any]:
    return {"command": name, **{option.dest: [] for option in OPTIONS}}


@pytest.mark.parametrize("args", [[], ["destroy"], ["up", "--nonsense"]])
def test_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(args)
    assert exit_.value.code == 2
    assert "python -m harness: error: " in capsys.readouterr().err
