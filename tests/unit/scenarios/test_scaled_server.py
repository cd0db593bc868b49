"""The settings file of servers whose times are divided, without the packages of a server's image."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

ABSENT = ["jupyter_server", "jupyter_server.serverapp", "jupyterhub", "jupyterhub.services", "tornado.ioloop"]
MANAGER, AUTH = "jupyter_server.services.kernels.kernelmanager", "jupyterhub.services.auth"


class Manager:
    """A kernel manager, which culls by what it has when it begins to."""

    def __init__(self, timeout: int, interval: int) -> None:
        self.cull_idle_timeout, self.cull_interval = timeout, interval
        self.culls: tuple[int, int] | None = None

    def initialize_culler(self) -> None:
        self.culls = self.cull_idle_timeout, self.cull_interval


class Auth:
    """A server's memory of who may come in."""

    cache_max_age = 300


@pytest.fixture
def scaled_server(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    monkeypatch.setitem(sys.modules, MANAGER, mock.MagicMock(MappingKernelManager=Manager))
    monkeypatch.setitem(sys.modules, AUTH, mock.MagicMock(HubAuth=Auth))
    for each, name in ((Manager, "initialize_culler"), (Auth, "__init__")):
        monkeypatch.setattr(each, name, getattr(each, name))
    monkeypatch.setenv("HARNESS_TIMES_DIVISOR", "45")
    monkeypatch.delitem(sys.modules, "harness.scenarios.scaled_server", raising=False)
    return importlib.import_module("harness.scenarios.scaled_server")


@pytest.mark.usefixtures("scaled_server")
@pytest.mark.parametrize(("seconds", "divided"), [((600, 60), (13, 1)), ((0, 300), (0, 7)), ((30, 5), (1, 1))])
def test_kernels_are_culled_sooner(seconds: tuple[int, int], divided: tuple[int, int]) -> None:
    manager = Manager(*seconds)
    manager.initialize_culler()
    assert manager.culls == divided


@pytest.mark.usefixtures("scaled_server")
def test_whoever_may_come_in_is_asked_for_again_sooner() -> None:
    assert Auth().cache_max_age == 7


@pytest.mark.parametrize(("seconds", "divided"), [(300, 7), (0, 0)])
def test_server_without_activity_ends_sooner(scaled_server: ModuleType, seconds: int, divided: int) -> None:
    server: Any = mock.MagicMock(shutdown_no_activity_timeout=seconds)
    scaled_server.init_divided_shutdown_no_activity(server)
    assert server.shutdown_no_activity_timeout == divided
    assert scaled_server.PeriodicCallback.call_count == (1 if seconds else 0)
