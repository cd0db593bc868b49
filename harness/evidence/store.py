"""The place of evidence: files that explain a failed test, so that it need not be run again, without secrets."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
from pathlib import Path

from harness.evidence.redaction import redact
from harness.plan.plan import Plan
from harness.services import keycloak


def directory(root: Path, test: str) -> Path:
    """Return the directory for one test's evidence, and make it."""
    found = place(root, test)
    found.mkdir(parents=True, exist_ok=True)
    return found


def clear(root: Path, test: str) -> None:
    """Remove a test's evidence of an earlier run, which would be taken for this run's."""
    shutil.rmtree(place(root, test), ignore_errors=True)


def place(root: Path, test: str) -> Path:
    """Return the path of the directory for one test's evidence."""
    return root / re.sub(r"[^\w.-]+", "-", test).strip("-")


def keep(plan: Plan, file: Path, text: str) -> None:
    """Write a file of evidence, the secrets of the run blacked out."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(redact(text, secrets(plan)), errors="replace")


def secrets(plan: Plan) -> set[str]:
    """Return the run's passwords and tokens, its registry's login, and the secrets of Keycloak's realms.

    After the teardown, which removes them, there are only those of the realms.
    """
    found: set[str] = set(json.loads(plan.secrets.read_text()).values()) if plan.secrets.exists() else set()
    for hosts in plan.state.glob("certs.d/*/hosts.toml"):
        for login in re.findall(r"Basic ([\w+/=]+)", hosts.read_text()):
            found.add(login)
            try:
                found.add(base64.b64decode(login).decode().partition(":")[2])
            except (binascii.Error, UnicodeDecodeError):
                continue
    return (found | keycloak.secrets()) - {""}
