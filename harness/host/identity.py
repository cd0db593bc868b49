"""The identity of a checkout: containers that share a Docker daemon may have two of them at one path."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

STATE_DIRECTORY = ".harness"
"""Directory of a run, in its checkout."""
IDENTITY, LOCK = "identity", "lock"
"""Files in that directory: the checkout's identity, and the one that the process that works there has locked."""
STAY = (LOCK, IDENTITY)
"""Files in that directory that stay when the run is removed."""


def identity(checkout: Path) -> str:
    """Return an identity that no other checkout on a Docker daemon has, not even one at the same path."""
    try:
        return (checkout / STATE_DIRECTORY / IDENTITY).read_text().strip()
    except OSError:
        place = checkout.stat()
        here = f"{socket.gethostname()}:{place.st_dev}:{place.st_ino}"
        return hashlib.sha256(here.encode()).hexdigest()[:16]


def keep_identity(checkout: Path) -> None:
    """Write the identity down, so that it stays after a reboot and under another host name."""
    file = checkout / STATE_DIRECTORY / IDENTITY
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text(f"{identity(checkout)}\n")
