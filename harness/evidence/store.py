"""Evidence: what a failed test leaves behind, so that nobody has to run it again to know why. Where it is kept."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
from pathlib import Path

from harness.evidence.redaction import redact
from harness.plan.plan import Plan


def directory(root: Path, test: str) -> Path:
    """The directory for one test's evidence."""
    found = place(root, test)
    found.mkdir(parents=True, exist_ok=True)
    return found


def clear(root: Path, test: str) -> None:
    """Remove what an earlier run left of a test: it would be taken for this run's."""
    shutil.rmtree(place(root, test), ignore_errors=True)


def place(root: Path, test: str) -> Path:
    """Where the directory for one test's evidence is, or would be."""
    return root / re.sub(r"[^\w.-]+", "-", test).strip("-")


def keep(plan: Plan, file: Path, text: str) -> None:
    """Write a file of evidence, the secrets of the run blacked out."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(redacted(plan, text), errors="replace")


def redacted(plan: Plan, text: str) -> str:
    """The text, the secrets of the run blacked out."""
    return redact(text, secrets(plan))


def secrets(plan: Plan) -> set[str]:
    """The run's own passwords and tokens, and what opens its registry; none after the teardown, with which they go."""
    found: set[str] = set(json.loads(plan.secrets.read_text()).values()) if plan.secrets.exists() else set()
    for hosts in plan.state.glob("certs.d/*/hosts.toml"):
        for login in re.findall(r"Basic ([\w+/=]+)", hosts.read_text()):
            found.add(login)
            try:
                found.add(base64.b64decode(login).decode().partition(":")[2])
            except (binascii.Error, UnicodeDecodeError):
                continue
    return found - {""}
