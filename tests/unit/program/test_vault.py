"""Rights in Vault."""

from __future__ import annotations

from typing import Any

import pytest

from harness.program.closure import Place
from harness.program.model import UNKNOWN, VAULT_POLICY, VAULT_ROLE, Program, Resource
from harness.program.vault import is_readable, refused_secrets

READ = '{ capabilities = ["read"] }'


@pytest.mark.parametrize(
    ("policy", "readable"),
    [
        (f'path "kv/sso/learn" {READ}', True),
        (f'path "kv/*" {READ}', True),
        (f'path "kv/sso/le*" {READ}', True),
        (f'path "kv/+/learn" {READ}', True),
        ('path "kv/sso/learn" {\n allowed_parameters = { a = ["b/*"] }\n capabilities = ["list", "read"]\n}', True),
        ('{"path": {"kv/sso/learn": {"capabilities": ["read"]}}}', True),
        (f'path "kv/*" {{ capabilities = ["deny"] }}\npath "kv/sso/*" {READ}', True),
        (f'path "kv/sso/learn/*" {READ}', False),
        (f'path "kv/sso" {READ}', False),
        (f'path "kv/+" {READ}', False),
        ('path "kv/sso/learn" { capabilities = ["list"] }', False),
        (f'path "kv/*" {READ}\npath "kv/sso/learn" {{ capabilities = ["deny"] }}', False),
        (f'# path "kv/sso/learn" {READ}', False),
        (f'path "kv/+/learn" {{ capabilities = ["list"] }}\npath "kv/*" {READ}', False),
        ("", False),
    ],
)
def test_the_most_specific_pattern_of_a_path_counts(policy: str, readable: bool) -> None:
    assert is_readable("kv/sso/learn", policy) is readable


def test_policies_of_a_role_add_up() -> None:
    assert is_readable("kv/a", 'path "kv/a" { capabilities = ["list"] }', f'path "kv/a" {READ}')


def program(*, policy: str, role: dict[str, Any], **spec: Any) -> Program:
    secret = {"mount": "kv", "path": "learn", "vaultAuthRef": "login", **spec}
    made = [
        (VAULT_POLICY, "ours", {"name": "ours", "policy": policy}),
        (VAULT_ROLE, "role", {"roleName": "hub", **role}),
        ("kubernetes:a:VaultAuth", "login", {"spec": {"kubernetes": {"role": "hub"}}}),
        ("kubernetes:a:VaultStaticSecret", "secret", {"spec": secret}),
    ]
    resources = (
        Resource(kind, name, True, {"metadata": {"name": name, "namespace": "jupyter"}, **inputs}, Place("a.py", 1))
        for kind, name, inputs in made
    )
    return Program("QA", "jupyterhub", "jupyterhub", tuple(resources))


@pytest.mark.parametrize(
    ("policy", "policies", "spec", "refused"),
    [
        (f'path "kv/learn" {READ}', ["ours"], {}, []),
        (f'path "kv/learn" {READ}', ["ours"], {"path": "other"}, ["kv/other"]),
        (f'path "kv/learn" {READ}', ["ours"], {"type": "kv-v2"}, ["kv/data/learn"]),
        ("", ["ours", "of-another-program"], {}, []),
        (UNKNOWN, ["ours"], {}, []),
        ("", [], {}, []),
        ("", ["ours"], {"vaultAuthRef": "elsewhere"}, []),
    ],
    ids=[
        "allowed",
        "another-path",
        "second-version",
        "policy-elsewhere",
        "unknown",
        "no-policy",
        "login-elsewhere",
    ],
)
def test_refused_secrets(policy: str, policies: list[str], spec: dict[str, Any], refused: list[str]) -> None:
    made = program(policy=policy, role={"tokenPolicies": policies}, **spec)
    assert [path for _, path, _ in refused_secrets(made)] == refused
