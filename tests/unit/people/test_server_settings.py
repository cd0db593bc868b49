"""The settings of a server, by a kernel that answers and without the packages of a server's image."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from harness.base.errors import HarnessError
from harness.people.kernel import CellResult, Kernel
from harness.people.server_settings import ServerSettings, early_ends, read_settings

NEVER = ServerSettings(0, ends_open_pages=False, kernel_manager="AsyncMappingKernelManager", server_timeout=0)
KERNEL = (
    "{} is ended after {} seconds of inactivity (MappingKernelManager.cull_idle_timeout, {} cull_connected), expected "
    "{} or never: its variables are gone while its server may be there"
)
OPEN, CLOSED = ("an open page's kernel", "with", 14400), ("the kernel of a closed page", "without", 900)
SERVER = (
    "a server ends itself after {} seconds without activity (ServerApp.shutdown_no_activity_timeout), expected 900 or "
    "never"
)
SERVERAPP = "jupyter_server.serverapp"


def kernel_ends(after: int, whose: str, how: str, least: int) -> str:
    """Return the sentence on a kernel that is ended."""
    return KERNEL.format(whose, after, how, least)


class Manager:
    """A kernel manager as a server makes it."""

    cull_idle_timeout, cull_connected = 1200, True


class AsyncManager(Manager):
    """The manager that a server has if nothing names another."""


class App:
    """A server; traitlets gives its manager what the settings have."""

    shutdown_no_activity_timeout = 0

    def __init__(self, config: dict[str, dict[str, Any]]) -> None:
        self.config = config

    def init_configurables(self) -> None:
        self.kernel_manager = AsyncManager()


class TestEarlyEnds:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, []),
            ({"kernel_timeout": 1200}, []),
            ({"kernel_timeout": 899}, [kernel_ends(899, *CLOSED)]),
            ({"ends_open_pages": True}, []),
            ({"kernel_timeout": -1, "ends_open_pages": True}, []),
            ({"kernel_timeout": 14400, "ends_open_pages": True}, []),
            ({"kernel_timeout": 14399, "ends_open_pages": True}, [kernel_ends(14399, *OPEN)]),
            ({"server_timeout": 899}, [SERVER.format(899)]),
            ({"server_timeout": 900}, []),
            (
                {"kernel_timeout": 60, "ends_open_pages": True, "server_timeout": 300},
                [kernel_ends(60, *OPEN), SERVER.format(300)],
            ),
        ],
        ids=str,
    )
    def test_sentences(self, changes: dict[str, Any], expected: list[str]) -> None:
        settings = dataclasses.replace(NEVER, kernel_manager="MappingKernelManager")
        assert list(early_ends(dataclasses.replace(settings, **changes))) == expected


class TestReadSettings:
    @pytest.mark.parametrize("before", ["", "Welcome to the course\n"])
    def test_answer(self, before: str) -> None:
        told = json.dumps(dataclasses.asdict(NEVER))
        assert read_settings(kernel_that_prints(before + told)) == NEVER

    def test_a_server_that_cannot_be_asked(self) -> None:
        told = json.dumps({"trouble": "start-server ended with status 1: Bad config encountered"})
        with pytest.raises(HarnessError, match=r"a second time; start-server ended with status 1: Bad config"):
            read_settings(kernel_that_prints(told))


class TestCell:
    """The cell that a kernel runs, in a process whose parent plays the server."""

    def ask(self, tmp_path: Path, server: str) -> Any:
        kernel = mock.create_autospec(Kernel, instance=True)
        kernel.run.return_value = CellResult("", json.dumps(dataclasses.asdict(NEVER)))
        read_settings(kernel)
        cell = tmp_path / "cell.py"
        cell.write_text(kernel.run.call_args.args[0])
        (tmp_path / "server.py").write_text(server)
        env = {**os.environ, "CELL": str(cell), "JUPYTER_CONFIG_PATH": "/elsewhere"}
        command = [sys.executable, "server.py", "--an-option"]
        asked = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(asked.stdout)

    def test_servers_command_reads_one_more_settings_file(self, tmp_path: Path) -> None:
        told = self.ask(
            tmp_path,
            "import json, os, subprocess, sys\n"
            "if answer := os.environ.get('HARNESS_ANSWER'):\n"
            "    ours, *others = os.environ['JUPYTER_CONFIG_PATH'].split(os.pathsep)\n"
            "    hook = open(f'{ours}/jupyter_config.py').read()\n"
            "    told = {'argv': sys.argv, 'cwd': os.getcwd(), 'others': others}\n"
            "    told['hook'] = 'init_configurables' in hook\n"
            "    print('noise')\n"
            "    open(answer, 'w').write(json.dumps(told))\n"
            "else:\n"
            "    subprocess.run([sys.executable, os.environ['CELL']], cwd='/', check=True)\n",
        )
        expected = {"argv": ["server.py", "--an-option"], "cwd": str(tmp_path), "others": ["/elsewhere"], "hook": True}
        assert told == expected

    def test_a_command_that_ends_without_an_answer(self, tmp_path: Path) -> None:
        told = self.ask(
            tmp_path,
            "import os, subprocess, sys\n"
            "if 'HARNESS_ANSWER' in os.environ:\n"
            "    print('reading'); sys.exit('Bad config')\n"
            "subprocess.run([sys.executable, os.environ['CELL']], check=True)\n",
        )
        assert told == {"trouble": f"{sys.executable} server.py --an-option ended with status 1: Bad config"}


class TestInServer:
    @pytest.fixture
    def answer(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setitem(sys.modules, "jupyter_server", ModuleType("jupyter_server"))
        monkeypatch.setitem(sys.modules, SERVERAPP, mock.MagicMock(ServerApp=App))
        monkeypatch.setattr(App, "init_configurables", App.init_configurables)
        monkeypatch.setenv("HARNESS_ANSWER", str(tmp_path / "answer.json"))
        monkeypatch.delitem(sys.modules, "harness.people.in_server", raising=False)
        in_server: Any = importlib.import_module("harness.people.in_server")
        monkeypatch.setattr(in_server.os, "_exit", mock.Mock(side_effect=SystemExit))
        return tmp_path / "answer.json"

    @pytest.mark.parametrize(
        ("config", "setting"),
        [
            ({}, "AsyncManager"),
            ({"Manager": {"cull_idle_timeout": 1200}}, "Manager"),
            ({"Manager": {"cull_idle_timeout": 1}, "AsyncManager": {"cull_idle_timeout": 1200}}, "AsyncManager"),
            ({"Manager": {"cull_idle_timeout": 1200}, "AsyncManager": {"cull_busy": True}}, "Manager"),
        ],
        ids=str,
    )
    def test_tells_what_is_in_effect_and_ends(self, answer: Path, config: dict[str, Any], setting: str) -> None:
        with pytest.raises(SystemExit):
            App(config).init_configurables()
        assert ServerSettings(**json.loads(answer.read_text())) == ServerSettings(
            1200, ends_open_pages=True, kernel_manager=setting, server_timeout=0
        )


def kernel_that_prints(text: str) -> Any:
    kernel = mock.create_autospec(Kernel, instance=True)
    kernel.run.return_value = CellResult("", f"{text}\n")
    return kernel
