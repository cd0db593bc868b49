"""Probes from pods and from kernels: which places they reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster

PROGRAM = Path(__file__).with_name("in_pod.py")
SECONDS = 4.0
"""Seconds for a connection: a first packet that got lost is sent again after one, and after three."""

Answers = Mapping[str, str]
"""The reason why each place cannot be reached, by its name; empty where it can."""


@dataclass(frozen=True)
class Place:
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def from_pod(cluster: Cluster, namespace: str, pod: str, places: Mapping[str, Place]) -> Answers:
    """Return which places a pod with Python reaches.

    Raises:
        HarnessError: the probe cannot be run.
    """
    answer = cluster.execute(namespace, pod, "python3", "-c", PROGRAM.read_text(), _written(places))
    return _read(answer)


def from_proxy(cluster: Cluster, namespace: str, pod: str, places: Mapping[str, Place]) -> Answers:
    """Return which places a hub's proxy reaches by connections of their own: it keeps those that it has.

    Raises:
        HarnessError: the probe cannot be run.
    """
    program = PROGRAM.with_suffix(".js").read_text()
    return _read(cluster.execute(namespace, pod, "node", "-e", program, _written(places), container="chp"))


def from_kernel(run: Callable[[str], str], places: Mapping[str, Place]) -> Answers:
    """Return which places a kernel reaches.

    Args:
        run: runs a cell and returns what it prints.

    Raises:
        HarnessError: it prints anything else.
    """
    program, _, _ = PROGRAM.read_text().partition("\nif __name__")
    return _read(run(f"{program}\nprint(json.dumps(reach(json.loads({_written(places)!r}))))"))


def reached(answers: Answers) -> list[str]:
    """Return the names of the places that were reached."""
    return [name for name, why in answers.items() if not why]


def missed(answers: Answers) -> list[str]:
    """Return the names of the places that were not reached, each with the reason."""
    return [f"{name} ({why})" for name, why in answers.items() if why]


def _written(places: Mapping[str, Place]) -> str:
    return json.dumps({name: (place.host, place.port, SECONDS) for name, place in places.items()})


def _read(answer: str) -> Answers:
    try:
        found: dict[str, str] = json.loads(answer)
    except ValueError as error:
        raise HarnessError(f"expected the answers of a probe, found {answer[:200]!r}") from error
    return found
