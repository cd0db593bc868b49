"""A program's objects for APISIX: as they are, or refused in words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.program.apisix import CLASS_REQUESTS, KINDS, NOTEBOOK, apisix_objects, turns_away
from harness.program.errors import ProgramError
from harness.program.model import UNKNOWN, Plugin
from tests.unit.program.apisix_resources import SPECS, changed, program_of

RULE, PLUGIN = "http.0", "http.0.plugins.0"


def test_they_are_taken_as_they_are_and_routes_are_the_last() -> None:
    found = apisix_objects(program_of())
    assert [each.kind for each in found] == list(KINDS)
    assert list(KINDS)[-1] == "ApisixRoute"
    assert {each.kind: each.spec for each in found} == SPECS


def test_a_program_without_any_has_none() -> None:
    assert apisix_objects(program_of({})) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("ApisixRoute", f"{RULE}.name", None, "http: 0: name: expected, and missing"),
        ("ApisixRoute", f"{RULE}.match.paths", None, "http: 0: match: paths: expected, and missing"),
        ("ApisixRoute", f"{RULE}.match.paths", "/*", "http: 0: match: paths: expected a valid list, found '/*'"),
        ("ApisixRoute", f"{RULE}.webSocket", True, "http: 0: webSocket: unknown"),
        ("ApisixRoute", f"{RULE}.websocket", "true", "http: 0: websocket: expected a valid boolean, found 'true'"),
        ("ApisixRoute", f"{RULE}.priority", "0", "http: 0: priority: expected a valid integer, found '0'"),
        ("ApisixRoute", f"{RULE}.timeout.read", 60, "http: 0: timeout: read: expected a text, found 60"),
        ("ApisixRoute", f"{RULE}.timeout.read", "60", "http: 0: timeout: read: String should match pattern"),
        (
            "ApisixRoute",
            f"{RULE}.backends.0.servicePort",
            None,
            "http: 0: backends: 0: servicePort: expected, and missing",
        ),
        ("ApisixRoute", f"{RULE}.backends.0.port", 80, "http: 0: backends: 0: port: unknown"),
        ("ApisixRoute", f"{PLUGIN}.secret_ref", "any", "http: 0: plugins: 0: secret_ref: unknown"),
        ("ApisixRoute", f"{PLUGIN}.config", "any", "http: 0: plugins: 0: config: expected a mapping"),
        (
            "ApisixRoute",
            f"{RULE}.match.exprs",
            [{"op": "Equal"}],
            "http: 0: match: exprs: 0: subject: expected, and missing",
        ),
        ("ApisixRoute", "http", SPECS["ApisixRoute"]["http"] * 2, "http: two rules have the name hub"),
        ("ApisixRoute", "hosts", ["nb.example"], "hosts: unknown"),
        ("ApisixPluginConfig", "plugins", None, "plugins: expected, and missing"),
        ("ApisixPluginConfig", "plugins.0.name", None, "plugins: 0: name: expected, and missing"),
        ("ApisixPluginConfig", "plugins.0.enabled", True, "plugins: 0: enabled: unknown"),
        ("ApisixTls", "hosts", [], "hosts: List should have at least 1 item"),
        ("ApisixTls", "hosts", ["https://nb.example"], "hosts: 0: String should match pattern"),
        ("ApisixTls", "secret.namespace", None, "secret: namespace: expected, and missing"),
        ("ApisixTls", "secret", "tls-pair", "secret: expected a mapping"),
    ],
)
def test_what_apisix_does_not_take_is_named_with_its_place(kind: str, path: str, value: Any, told: str) -> None:
    with pytest.raises(ProgramError) as refused:
        apisix_objects(program_of(changed(kind, path, value)))
    first, then = str(refused.value).splitlines()
    assert first.startswith(f"src/here.py, line 7: {kind} the-{kind.lower()}: spec: {told}")
    assert then.endswith("apache/apisix-ingress-controller, config/crd/bases.")


def test_what_is_not_known_before_it_is_applied_is_named() -> None:
    unknown = changed("ApisixTls", "secret.name", UNKNOWN)
    with pytest.raises(ProgramError, match=re.escape("spec.secret.name of ApisixTls the-apisixtls is not known")):
        apisix_objects(program_of(unknown))


@pytest.mark.parametrize(
    ("name", "config", "reason"),
    [
        ("limit-count", {"count": 100, "time_window": 60}, "takes 100 requests of one address"),
        ("limit-count", {"count": 86_400, "time_window": 86_400}, "takes 60 requests"),
        ("limit-count", {"count": CLASS_REQUESTS, "time_window": 1}, ""),
        ("limit-count", {"count": 10, "key": "http_authorization"}, ""),
        ("limit-count", {"count": 10, "key_type": "constant", "key": "all"}, "takes 10 requests"),
        (
            "limit-req",
            {"rate": 5, "burst": 5, "key": "http_x_forwarded_for"},
            "takes 305 requests of one address in a minute",
        ),
        ("limit-req", {"rate": 60, "burst": 10, "key": "remote_addr"}, "takes 70 requests of one address in a second"),
        ("limit-req", {"rate": 100, "burst": 0, "key": "remote_addr"}, ""),
        ("limit-req", {"rate": 50, "burst": 50, "key": "remote_addr"}, ""),
        ("limit-req", {"rate": "unknown", "burst": 50, "key": "remote_addr"}, ""),
        ("limit-conn", {"conn": 8, "burst": 2, "key_type": "var_combination", "key": "$remote_addr $host"}, "takes 10"),
        ("limit-conn", {"conn": 200, "burst": 39, "key": "remote_addr"}, "takes 239 requests of one address at a time"),
        ("limit-conn", {"conn": 200, "burst": 40, "key": "remote_addr"}, ""),
        ("client-control", {"max_body_size": NOTEBOOK - 1}, f"max_body_size is {NOTEBOOK - 1}"),
        ("client-control", {"max_body_size": NOTEBOOK}, ""),
        ("client-control", {"max_body_size": 0}, ""),
        ("ip-restriction", {"whitelist": ["192.0.2.0/24"]}, "takes no one but its whitelist"),
        ("ip-restriction", {"blacklist": ["192.0.2.0/24"]}, ""),
        ("ua-restriction", {"allowlist": ["Edge"]}, "takes no one but its allowlist"),
        ("ua-restriction", {"denylist": ["GPTBot", "Chrome/"]}, "refuses browsers, by 'Chrome/'"),
        ("ua-restriction", {"denylist": ["GPTBot"]}, ""),
        ("cors", {"allow_origins": "**"}, ""),
    ],
)
def test_learners_are_turned_away(name: str, config: dict[str, Any], reason: str) -> None:
    found = turns_away(Plugin(name, config))
    assert reason in found
    assert bool(found) is bool(reason)
