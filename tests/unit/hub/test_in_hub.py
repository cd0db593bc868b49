"""The settings in force as in_hub.py writes them down: as JSON has them, and without secrets."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

ABSENT = ["jupyterhub", "jupyterhub.app", "jupyterhub.objects", "jupyterhub.user", "jupyterhub.utils"]
ABSENT += ["kubernetes_asyncio", "kubernetes_asyncio.client", "tornado", "tornado.httputil", "tornado.web"]


@pytest.fixture
def in_hub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, without the packages of the hub's image."""
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    monkeypatch.delitem(sys.modules, "harness.hub.in_hub", raising=False)
    return importlib.import_module("harness.hub.in_hub")


class Part:
    """A part of a hub, with traits."""

    start_timeout = 600
    auth_token = "a secret"
    command: tuple[str, ...] = ("configurable-http-proxy",)

    @classmethod
    def section_names(cls) -> list[str]:
        return ["Whole", "Part"]

    def trait_names(self, *, config: bool) -> list[str]:
        assert config
        return ["start_timeout", "auth_token", "command", "proxy_cmd"]

    @property
    def proxy_cmd(self) -> str:
        raise ValueError("no value")


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("mem_limit", 4294967296, 4294967296),
        ("oauth_token_expires_in", 3600, 3600),
        ("upgrade_db", None, None),
        ("db_url", "postgresql://hub:word@db/hub", "(left out)"),
        ("api_tokens", {"word": "admin"}, "(left out)"),
        ("keys", ["word"], "(left out)"),
        ("cookie_secret", b"word", "(left out)"),
        ("services", [{"name": "culler", "api_token": "word"}], [{"name": "culler", "api_token": "(left out)"}]),
        ("environment", {"AWS_SECRET_ACCESS_KEY": "word", "A": ""}, {"AWS_SECRET_ACCESS_KEY": "(left out)", "A": ""}),
        ("tolerations", ({"key": "gpu", "value": "true"},), [{"key": "gpu", "value": "true"}]),
        ("spawner_class", Part, "(Part)"),
        ("modify_pod_hook", json.dumps, "(dumps)"),
        ("logger", object(), "(object)"),
    ],
)
def test_plain(in_hub: ModuleType, name: str, value: Any, written: Any) -> None:
    found = in_hub.plain(name, value)
    assert "word" not in json.dumps(found)
    assert found == written


def test_settings(in_hub: ModuleType) -> None:
    """Every setting is written down; one that has no value here is told with the reason."""
    found = in_hub.settings(Part)
    assert found.pop("class").endswith("Part")
    assert found == {
        "sections": ["Whole", "Part"],
        "start_timeout": 600,
        "auth_token": "(left out)",
        "command": ["configurable-http-proxy"],
        "proxy_cmd": "(unknown: ValueError: no value)",
    }


def test_names_of_settings_are_told_in_every_section(in_hub: ModuleType) -> None:
    """The name of a class is no secret's, though the texts of its settings may be."""
    config = {"SharedPasswordAuthenticator": {"admin_password": "word", "user_passwort": None}}
    app = mock.MagicMock(config=config)
    given = in_hub.configuration(app, db=None)["given"]
    assert given == {"SharedPasswordAuthenticator": {"admin_password": "(left out)", "user_passwort": None}}


def test_a_part_that_cannot_be_made(in_hub: ModuleType) -> None:
    def make() -> Part:
        raise ValueError("admin_password must be at least 32 characters")

    assert in_hub.settings(make) == {"error": "ValueError: admin_password must be at least 32 characters"}
