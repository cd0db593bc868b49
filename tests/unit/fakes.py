"""Stand-ins for other programs, and for the hub that loads a spawner."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from harness.hub.api import Hub


class Program:
    """A program that writes down its arguments, a line a call, and then does as a shell script says.

    In the script, $calls is the file of the calls and $here the program's own directory.
    """

    def __init__(self, directory: Path, name: str, script: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / name
        self._calls = directory / f"{name}.calls"
        head = f'here="{directory}"; calls="{self._calls}"'
        self.path.write_text(f'#!/bin/sh\n{head}\necho "$@" >> "$calls"\n{script}\n')
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


class FakeDocker(Program):
    """A docker whose daemon answers, with the containers and networks that it is given."""

    def __init__(self, directory: Path) -> None:
        script = """case "$1 $2" in
          "ps "*|"network ls") [ ! -f "$here/$1" ] || cat "$here/$1" ;;
          "rm "*) : > "$here/ps" ;;
          "info "*) echo / ;;
          version*) echo 28 ;;
        esac"""
        super().__init__(directory, "docker", script)

    def has(self, *parts: str) -> None:
        """Let the run jh-1 have containers of these kinds, and its network."""
        self.path.with_name("ps").write_text("".join(f"jh-1-{part}\n" for part in parts))
        self.path.with_name("network").write_text("bridge\njh-1\n")

    @property
    def changes(self) -> list[str]:
        """The calls that change something."""
        looks = ("ps ", "network ls", "version", "info ", "logs ")
        return [call for call in self.calls if not call.startswith(looks)]


def hub_that_answers(answer: Callable[[httpx.Request], httpx.Response]) -> Hub:
    """A hub whose API is a function."""
    hub = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
    vars(hub)["api"] = httpx.Client(base_url="http://hub/hub/api", transport=httpx.MockTransport(answer))
    return hub


def load_spawner(text: str) -> dict[str, Any]:
    """Run a spawner file as the hub's chart does, with a KubeSpawner of no abilities, and return its names."""
    kubespawner = types.ModuleType("kubespawner")
    vars(kubespawner)["KubeSpawner"] = type("KubeSpawner", (), {})
    names: dict[str, Any] = {"c": mock.MagicMock(), "__name__": "jupyterhub_config"}
    with mock.patch.dict(sys.modules, kubespawner=kubespawner), mock.patch.dict(os.environ, DATABASE_URL="none"):
        exec(compile(text, "dynamicImageConfig.py", "exec"), names)
    return names
