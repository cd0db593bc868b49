"""The one user of the authors' hub: at work for tests that only look, or free for a test that begins anew."""

from __future__ import annotations

from collections.abc import Callable

from harness.hub.api import Hub
from harness.people.author import NAME, Author
from harness.people.journey import JourneyError
from harness.scenarios.user_cleanup import UserCleanup


class AuthorsUser:
    """The user that all authors share, and with it one server.

    Args:
        new: makes an author, who has not logged in yet.

    Attributes:
        author: who used it last; None while it is free.
    """

    def __init__(self, new: Callable[[], Author], cleanup: UserCleanup, password: str) -> None:
        self._new, self._cleanup, self._password = new, cleanup, password
        self.author: Author | None = None
        self._at_work_on = ""
        self._leaving: Hub | None = None
        """The hub of an author who has left, and whose user may still be there."""

    def open(self, course: str) -> Author:
        """Return an author who works on a course; if none does, one logs in first, and fills in the form.

        Raises:
            SpawnError, JourneyError: the author gets no server.
        """
        if self.author and self._at_work_on == course:
            return self.author
        author = self.anew()
        if (status := author.log_in(self._password)) != 302:
            raise JourneyError(f"the shared password is refused: {status}, expected 302\n{author.journey}")
        author.ask_for(course)
        self._at_work_on = course
        return author

    def anew(self) -> Author:
        """Delete what the last author left, server and all, and return an author who has not logged in."""
        # Only now: a failure of the last author's test leaves its evidence there.
        self.free()
        if self._leaving:
            self._cleanup.delete(self._leaving, NAME)
            self._leaving = None
        self.author = self._new()
        return self.author

    def free(self) -> None:
        """Begin to delete the user, if an author may have left it."""
        if self.author:
            self.author.close()
            self._cleanup.add(self.author.hub, NAME)
            self._leaving = self.author.hub
        self.author, self._at_work_on = None, ""
