"""Files: those that options name, and those that containers read as another user."""

from __future__ import annotations

import ast
from pathlib import Path

from harness.base.errors import HarnessError


def read_text(path: Path, option: str) -> str:
    """Return the text of a file that an option names.

    Raises:
        HarnessError: it is missing, or not a text file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{option} {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{option} {path}: not a text file: {error.reason} at byte {error.start}") from error


def parse_python(path: Path, option: str) -> ast.Module:
    """Return the syntax tree of a Python file that an option names, without running it.

    Raises:
        HarnessError: it is missing, or has a syntax error (the line is named).
    """
    try:
        return ast.parse(read_text(path, option), filename=str(path))
    except SyntaxError as error:
        code = f"\n  | {error.text.rstrip()}" if error.text else ""
        where = f", line {error.lineno}" if error.lineno else ""
        raise HarnessError(f"{option} {path}{where}: not Python: {error.msg}{code}") from error
    except ValueError as error:  # a null byte, to Python before 3.11.4
        raise HarnessError(f"{option} {path}: not Python: {error}") from error


def make_readable(root: Path) -> None:
    """Let every user read a file, or all of a directory, as under a umask of 022; the run's own umask may be 077."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))


def last_used(path: Path) -> float:
    """Return when something kept was used last, as time.time(); 0 if another run has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
