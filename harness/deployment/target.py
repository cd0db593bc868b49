"""The target: everything that tests can ask for, of any deployment that they run against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.cluster.kind import Cluster
from harness.hub.api import Hub
from harness.services.aws import Aws
from harness.services.postgres import Postgres
from harness.services.registry import Registry


@dataclass(frozen=True)
class Absent:
    """A part that a target does not have.

    Attributes:
        reason: why what needs it is not checked, as a person reads it: "there is no registry behind these hubs".
    """

    reason: str


class Target(Protocol):
    """Hubs to test, and what stands behind them as far as a test may ask it.

    A private copy (`harness.deployment.model.Deployment`) has every part. A target without one of them has an Absent
    in its place, and the tests that ask for it are not checked.
    """

    @property
    def student(self) -> Hub | Absent: ...
    @property
    def authoring(self) -> Hub | Absent: ...
    @property
    def cluster(self) -> Cluster | Absent: ...
    @property
    def registry(self) -> Registry | Absent: ...
    @property
    def database(self) -> Postgres | Absent: ...
    @property
    def aws(self) -> Aws | Absent: ...
    @property
    def unchecked(self) -> Sequence[str]:
        """Return what no test can check on this target, each with its reason."""
