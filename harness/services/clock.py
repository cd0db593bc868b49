"""Calendars that a test moves: those of the gate and of Keycloak, by libfaketime in our images, and no other.

The machine's clock stays as it is, and so do those of the hubs, of clients and browsers, and of all that is written in
Go (the cluster, the registry), which libfaketime cannot move. Waits of a moved program take as long as ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base.files import make_readable

PLACE = "/etc/clock"
"""File in a container that says by how much its calendar is ahead."""
DAY = 24 * 3600


@dataclass(frozen=True)
class Clock:
    """The calendar of one container, by the file that it reads."""

    file: Path

    def set_ahead(self, seconds: float) -> None:
        """Move the calendar: the container's programs read the file each time that they ask (FAKETIME_NO_CACHE)."""
        # In place: the container sees this very file.
        self.file.touch()
        make_readable(self.file)
        self.file.write_text(f"{seconds:+.0f}\n")


def move(seconds: float, *clocks: Clock) -> None:
    """Move calendars to so many seconds ahead of the machine's."""
    for clock in clocks:
        clock.set_ahead(seconds)
