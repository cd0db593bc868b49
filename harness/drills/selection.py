"""The promises that a change can touch, as the drills have it: which promise catches a change of which place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.timeline import BOOT
from harness.deployment.inputs import changed_places, changed_statements, course_place, kept_inputs, read_inputs
from harness.drills.model import DRILLS, DoesNotApplyError, Drill
from harness.drills.promise_index import FIRST_TEST, function_of
from harness.drills.reader import read_drills
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.plan import Plan

HUB_OF_VALUES = {STUDENT: "students", AUTHORING: "authors"}


@dataclass(frozen=True)
class Selection:
    """The promises to check first after a change.

    Attributes:
        places: where the deployment has changed, as `inputs.changed_places` names it.
        tests: as drills name them, with parameters or without.
        unknown: places that no drill has changed; anything may depend on them, so that nothing is selected.
    """

    places: tuple[str, ...]
    tests: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """True if some promises come first; False if all may depend on the change."""
        return bool(self.places) and not self.unknown

    def has(self, test: str) -> bool:
        """Return whether a test, `test_file.py::test_function[parameters]`, is among those to check first."""
        return self.narrow and not self.tests.isdisjoint((test, function_of(test)))


def select_for_change(plan: Plan) -> Selection:
    """Return what the change since the kept copy was brought up can touch; no place where there is no such copy.

    Raises:
        HarnessError: a file of the plan or a drill cannot be read.
    """
    before = kept_inputs(plan.state)
    places = changed_places(before, read_inputs(plan)) if before else set()
    if not before or not places:
        return Selection(())
    return select_promises(places, known_places(plan.checkout, before.spawner))


def known_places(checkout: Path, spawner: str) -> dict[str, set[str]]:
    """Return the tests that come first, as the drills of a checkout name them, by the place that a drill changes.

    Args:
        spawner: the code that drills edit, as it was before the change: where it has changed, their edits may not fit.

    Raises:
        HarnessError: a drill is not written as it should be.
    """
    known: dict[str, set[str]] = {}
    for drill in read_drills(checkout / DRILLS):
        for place in places_of(drill, spawner):
            known.setdefault(place, set()).update(drill.sooner or (*drill.caught_by, *drill.tries))
    return known


def select_promises(places: Iterable[str], known: Mapping[str, set[str]]) -> Selection:
    """Select what a change can touch: every test that drills of the same places name.

    Args:
        known: as `known_places` returns it.
    """
    changed = tuple(sorted(places))
    found = {place: [tests for other, tests in known.items() if _overlap(place, other)] for place in changed}
    if unknown := tuple(place for place, tests in found.items() if not tests):
        return Selection(changed, unknown=unknown)
    tests = {FIRST_TEST}.union(*(tests for each in found.values() for tests in each)) - {BOOT}
    return Selection(changed, frozenset(tests))


def places_of(drill: Drill, spawner: str) -> Iterator[str]:
    """Yield the places that a drill changes; none for one of the chart, the registry or the owners' program."""
    for hub_spec, changes in drill.values.items():
        yield from (f"{HUB_OF_VALUES[hub_spec]}: {path}" for path in changes.paths)
    # What holds for the route to one hub is looked at on the other's, too.
    yield from (f"gate: {path.partition('.')[2]}" for path in drill.gate.paths)
    edited = spawner
    for edit in drill.spawner:
        try:
            edited = edit.on(edited)
        except DoesNotApplyError:
            continue
    if edited != spawner:
        yield from changed_statements(spawner, edited)
    if drill.image:
        names = [*(["Dockerfile"] if drill.image.dockerfile else []), *drill.image.files]
        yield from (course_place(drill.image.course, name) for name in names)


def _overlap(place: str, other: str) -> bool:
    """Return whether two places are one, or a key of values and a part of what is under it."""
    return place == other or place.startswith(f"{other}.") or other.startswith(f"{place}.")
