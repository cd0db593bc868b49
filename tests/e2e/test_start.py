"""A start takes as long as its parts take on an idle cluster: nothing holds it up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.cluster.kind import Cluster
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.start_time import measure_start


@pytest.mark.usefixtures("no_pending_deletions")
def test_nothing_holds_up_a_start(visit: Callable[[], Student], cluster: Cluster) -> None:
    """No part of a start takes much longer than it does of a plain server that starts at the same moment."""
    faults = [part.fault for part in measure_start(cluster, visit(), str(EXAMPLE)) if part.fault]
    assert not faults, "a start is held up: " + "\n".join(faults)
