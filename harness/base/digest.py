"""Digests that show what has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def fingerprint(parts: Iterable[str | bytes | Path]) -> str:
    """Return a short digest of texts and of the content of files and directories, but not of their paths."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            found = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
            for file in found:
                digest.update(f"{file.relative_to(part)}\0".encode() + file.read_bytes() + b"\0")
        else:
            digest.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return digest.hexdigest()[:16]
