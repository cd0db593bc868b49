"""The values that kind needs in place of production's, as a rule over a person's own values.

A kind cluster is one small machine: two nodes that each count its 2 CPUs and 24 GB as their own. What is scaled here
hides a change of the same key from all that runs on kind, so each line names the promise that holds production's own
value to the contract. A value that production would refuse is left as it is, so that it is refused here too. Limits of
memory stay production's: what is killed there is killed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kubernetes.utils import parse_quantity

from harness.base.errors import HarnessError
from harness.base.quantities import spawner_bytes
from harness.charts.values import merge_values, nested, value_at

MIB = 2**20
MEMORY_SHARE, CPU_SHARE, PATIENCE = 16, 25, 10
NOTHING = object()
"""The value of a key that nothing sets."""


@dataclass(frozen=True)
class Rule:
    """One line of the rule: a key, and what becomes of its value.

    Attributes:
        key: its dotted path among the values.
        scaled: returns the value for kind.
        amount: reads the value, and raises an error for one that production would refuse.
        watched_by: the promise that watches the key in production's layer.
        default: the value that counts where nothing is set, the chart's or JupyterHub's.
        at_most, at_least: key of a value that this one may not exceed, or fall below.
    """

    key: str
    scaled: Callable[[Any], Any]
    amount: Callable[[Any], Any]
    watched_by: str
    default: Any = NOTHING
    at_most: str = ""
    at_least: str = ""

    def apply(self, values: Mapping[str, Any]) -> Iterator[ScaledValue]:
        """Yield what becomes of the key, unless its value stays as it is."""
        before = value_at(values, self.key, self.default)
        if before in (NOTHING, None) or not self._is_sound(before, values):
            return
        amount = self.amount(before)
        after = self.scaled(amount)
        if self.amount(after) != amount:
            yield ScaledValue(self.key, before, after)

    def _is_sound(self, value: Any, values: Mapping[str, Any]) -> bool:
        amount = self._read(value)
        upper = self._read(value_at(values, self.at_most))
        lower = self._read(value_at(values, self.at_least))
        return (
            amount is not None
            and (upper is None or amount <= upper)
            # What is scaled up could else cover what is too low.
            and (lower is None or amount >= lower)
        )

    def _read(self, value: Any) -> Any:
        try:
            return None if value is None else self.amount(value)
        except (TypeError, ValueError, HarnessError):
            return None


@dataclass(frozen=True)
class ScaledValue:
    """A value that is another one on kind."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key} {self.before} → {self.after}"


def number(value: Any) -> Any:
    """Return a value that is a number.

    Raises:
        TypeError: it is none, which the chart's schema or a trait refuses.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _share_of_memory(size: int) -> str | int:
    share = size // MEMORY_SHARE
    return share if share % MIB else f"{share // MIB}M"


def _share_of_cpu(cpus: float) -> float:
    return cpus / CPU_SHARE


def _at_least_one_cpu(cpus: Decimal) -> str:
    return f"{max(cpus, Decimal(1)):f}"


def _at_most_one(count: int) -> int:
    return min(count, 1)


GUARANTEE = "test_production.py::test_server_is_guaranteed_what_production_gives"
TIMES = "test_production.py::test_hub_waits_for_servers_and_the_api"


def _patient(key: str, default: Any = NOTHING) -> Rule:
    return Rule(key, lambda seconds: seconds * PATIENCE, number, watched_by=TIMES, default=default)


RULES = (
    # 2G each, and a class of 32 asks for 64G: an idle server takes about 128M.
    Rule(
        "singleuser.memory.guarantee",
        scaled=_share_of_memory,
        amount=partial(spawner_bytes, name="singleuser.memory"),
        watched_by=GUARANTEE,
        default="1G",
        at_most="singleuser.memory.limit",
    ),
    # 0.25 each, and a class of 32 asks for 8 CPUs of the 4 that the nodes believe to have.
    Rule(
        "singleuser.cpu.guarantee",
        scaled=_share_of_cpu,
        amount=number,
        watched_by=GUARANTEE,
        at_most="singleuser.cpu.limit",
    ),
    # At 100m the one proxy is stopped for 90 ms of every 100 and each page's hundred files wait in line.
    Rule(
        "proxy.chp.resources.limits.cpu",
        scaled=_at_least_one_cpu,
        amount=parse_quantity,
        watched_by="test_production.py::test_part_of_the_release_has_its_share",
        at_least="proxy.chp.resources.requests.cpu",
    ),
    # The second is a spare that only waits for the first one's lease, with 256Mi and 100m of its own.
    Rule(
        "scheduling.userScheduler.replicas",
        scaled=_at_most_one,
        amount=number,
        watched_by="test_production.py::test_user_scheduler_is_there_twice",
        default=2,
    ),
    # Enough to see a student's pod push one out.
    Rule(
        "scheduling.userPlaceholder.replicas",
        scaled=_at_most_one,
        amount=number,
        watched_by="test_production.py::test_room_is_kept",
        default=0,
    ),
    # 30 s else, in which a class of 32 servers that start at once on 2 CPUs do not answer; after five such failures the
    # hub ends itself. The spawner's own section wins over the general one.
    _patient("hub.config.Spawner.http_timeout", 30),
    _patient("hub.config.KubeSpawner.http_timeout"),
    # An API server that shares its 2 CPUs with the class makes a pod and answers too late: the spawner asks again,
    # finds the pod there, removes it, and gives up after 30 s of this.
    _patient("hub.config.KubeSpawner.k8s_api_request_timeout", 3),
    _patient("hub.config.KubeSpawner.k8s_api_request_retry_timeout", 30),
)
GATE = "test_production.py::test_nothing_is_reachable_past_the_gate"
DECIDED = {
    "proxy.service.type": GATE,
    "proxy.service.nodePorts.http": "test_production.py::test_hubs_have_ports_of_their_own",
}
"""Values that every run decides itself, each with the promise that watches the key in production's layer."""


def scale(files: Iterable[Path]) -> list[ScaledValue]:
    """Return what the rule makes of some values files, of which later ones win.

    Raises:
        HarnessError: a file cannot be read.
    """
    values = merge_values(files)
    return [change for rule in RULES for change in rule.apply(values)]


def write_overlay(files: Iterable[Path], into: Path) -> None:
    """Write the values file that brings the values in other files down to what kind can bear.

    Raises:
        HarnessError: a file cannot be read.
    """
    into.write_text(yaml.safe_dump(nested({change.key: change.after for change in scale(files)})))


def describe_scaling(students: Iterable[Path], authors: Iterable[Path]) -> str:
    """Return in words what is scaled, from what to what; a hub is named where the other one's value is another.

    Raises:
        HarnessError: a file cannot be read.
    """
    found = {"students": list(map(str, scale(students))), "authors": list(map(str, scale(authors)))}
    both = [line for line in found["students"] if line in found["authors"]]
    apart = [f"{line} ({whose})" for whose, lines in found.items() for line in lines if line not in both]
    return "; ".join([*both, *apart]) or "nothing"
