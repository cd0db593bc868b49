"""Rights in Vault: what a program's roles may read of it, by their policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from harness.program.access import as_list
from harness.program.model import UNKNOWN, VAULT_POLICY, VAULT_ROLE, KubernetesObject, Program

KINDS = ("VaultDynamicSecret", "VaultStaticSecret")
COMMENT = re.compile(r"(?m)^\s*(?:#|//).*$")
STANZA = re.compile(r'path\s+"([^"]+)"\s*\{')
CAPABILITIES = re.compile(r"capabilities\s*=\s*\[([^\]]*)\]")


def refused_secrets(program: Program) -> Iterator[tuple[KubernetesObject, str, list[str]]]:
    """Yield the Secrets that Vault does not let be filled, each with its path in Vault and the policies that are asked.

    A Secret whose login or role is made elsewhere is left out, and one whose role has a policy that is made elsewhere.
    """
    policies = {str(each.inputs.get("name") or each.name): each.inputs for each in program.of_type(VAULT_POLICY)}
    roles = {str(each.inputs.get("roleName")): each.inputs for each in program.of_type(VAULT_ROLE)}
    logins = {(each.namespace, each.name): each.spec.get("kubernetes", {}) for each in program.of_kind("VaultAuth")}
    for secret in (each for kind in KINDS for each in program.of_kind(kind)):
        login = logins.get((secret.namespace, str(secret.spec.get("vaultAuthRef"))), {})
        names = as_list(roles.get(str(login.get("role")), {}).get("tokenPolicies", []))
        texts = [str(policies.get(name, {}).get("policy", UNKNOWN)) for name in names]
        path = _path(secret)
        if names and UNKNOWN not in texts and not is_readable(path, *texts):
            yield secret, path, names


def is_readable(path: str, *policies: str) -> bool:
    """Return whether policies, as HCL or JSON, let a path be read: the most specific of their patterns counts."""
    rights: dict[str, set[str]] = {}
    for policy in policies:
        for pattern, capabilities in _stanzas(policy):
            rights.setdefault(pattern, set()).update(capabilities)
    matching = [pattern for pattern in rights if re.fullmatch(_expression(pattern), path)]
    found = rights[max(matching, key=_priority)] if matching else set()
    return "read" in found and "deny" not in found


def _stanzas(policy: str) -> Iterator[tuple[str, list[str]]]:
    if policy.lstrip().startswith("{"):
        for path, stanza in json.loads(policy).get("path", {}).items():
            yield path, as_list(stanza.get("capabilities", []))
        return
    _, *parts = STANZA.split(COMMENT.sub("", policy))
    for path, stanza in zip(parts[::2], parts[1::2], strict=True):
        if found := CAPABILITIES.search(stanza):
            yield path, re.findall(r'"(\w+)"', found[1])


def _expression(pattern: str) -> str:
    whole, glob = pattern.removesuffix("*"), pattern.endswith("*")
    parts = ("[^/]+" if part == "+" else re.escape(part) for part in whole.split("/"))
    return "/".join(parts) + (".*" if glob else "")


def _priority(pattern: str) -> tuple[int, bool, int, int, str]:
    """Return what the more specific of two patterns has more of (Vault's documentation, "Policies")."""
    first = min(found for sign in "+*" if (found := f"{pattern}{sign}".find(sign)) >= 0)
    return first, not pattern.endswith("*"), -pattern.count("+"), len(pattern), pattern


def _path(secret: KubernetesObject) -> str:
    spec: Mapping[str, object] = secret.spec
    data = "data/" if spec.get("type") == "kv-v2" else ""
    return f"{spec.get('mount')}/{data}{spec.get('path')}"
