"""Stand-ins for other programs."""

from __future__ import annotations

from pathlib import Path


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
