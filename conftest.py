"""Loads the fixtures and declares the options; nothing else."""

from __future__ import annotations

import pytest

from harness.options import OPTIONS

pytest_plugins = [
    "fixtures.run",
    "fixtures.deployment",
    "fixtures.people",
    "fixtures.report",
    "fixtures.courses",
    "fixtures.known_defects",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "the deployment under test")
    for option in OPTIONS:
        text = f"{option.help} (default: {option.default or 'ours'}; also {option.env})"
        group.addoption(option.flag, dest=option.dest, action="append", default=[], metavar=option.metavar, help=text)
        parser.addini(option.ini, option.help, type="linelist", default=[])
