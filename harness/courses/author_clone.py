"""A course's repository in the hands of its author."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.base.shell import run


class Clone:
    """An author's work tree, and the bare repository that it is pushed to and that the build job reads."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "clone"
        self.origin = directory / "origin.git"

    @classmethod
    def begin(cls, template: Path, directory: Path) -> Clone:
        """Start a course repository with what is in another directory."""
        clone = cls(directory)
        shutil.copytree(template, clone.path)
        run(["git", "init", "--quiet", "--bare", "--initial-branch=main", clone.origin], timeout=30)
        clone.git("init", "--quiet", "--initial-branch=main")
        clone.git("remote", "add", "origin", str(clone.origin))
        clone.push("Begin the course")
        return clone

    def push(self, message: str) -> None:
        """Commit everything and push it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        self.git("push", "--quiet", "origin", "main")

    def write(self, path: str, text: str) -> None:
        """Write a file of the course."""
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_text(text)

    def git(self, *args: str) -> None:
        who = ["-c", "user.name=An author", "-c", "user.email=author@example.org", "-c", "commit.gpgsign=false"]
        run(["git", "-C", self.path, *who, *args], timeout=30)
