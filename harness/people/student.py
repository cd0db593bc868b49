"""A student: a visitor of the hub, who follows links, and the server that the hub starts for them."""

from __future__ import annotations

from harness.people.journey import JourneyError, Visitor
from harness.people.server import UserServer


class Student(Visitor):
    """A visitor of a hub, and the owner of a server there; see Visitor for the arguments."""

    @property
    def server(self) -> UserServer:
        """Return the student's own server.

        Raises:
            JourneyError: the hub has started none.
        """
        if not self.name:
            raise JourneyError(f"{self} has no server: the hub started none\n{self.journey}")
        return UserServer(self)
