"""The results of drills for people: lines for the terminal, and a page with the kill matrix."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.drills.promise_index import Promise, function_of
from harness.drills.results import GOOD, NOT_JUDGED, Result, Results, Verdict
from harness.report import render

SLOWEST, MEDIAN = 180.0, 20.0
"""Limits in seconds from a change to its verdict: for one drill (but for those of the culler), and for the median."""
PEOPLE = {"student": "A student", "author": "An author", "operator": "An operator"}


def score(results: Sequence[Result]) -> str:
    """Return the score in words."""
    counted = [result for result in results if result.verdict not in NOT_JUDGED]
    planted = [result for result in counted if result.hurts]
    valid = [result for result in counted if not result.hurts]
    caught = sum(result.verdict is Verdict.CAUGHT for result in planted)
    quiet = sum(result.verdict is Verdict.QUIET for result in valid)
    kept = Counter(result.verdict for result in results)
    reasons = {Verdict.NOT_HERE: "do not apply here", Verdict.NO_CHECKOUT: "need --ol-infrastructure"}
    return "".join(
        [
            f"{caught} of {len(planted)} regressions caught, {quiet} of {len(valid)} valid changes without an alarm",
            *(f"; {kept[verdict]} {reason}" for verdict, reason in reasons.items() if kept[verdict]),
        ]
    )


def layers(results: Sequence[Result]) -> list[str]:
    """Return a line for each layer, and one for all: how many regressions it caught, and the median seconds to it."""
    caught = [result for result in results if result.verdict in (Verdict.CAUGHT, Verdict.UNCLEAR)]
    if not caught:
        return []
    counts = Counter(result.layer for result in caught)
    lines = []
    for layer, count in counts.most_common():
        seconds = [result.seconds for result in caught if result.layer == layer]
        lines.append(f"{count} by what is {layer}, median {statistics.median(seconds):.0f} s")
    every = [result.seconds for result in caught]
    return [*lines, f"all: median {statistics.median(every):.0f} s (at most {MEDIAN:.0f}), longest {max(every):.0f} s"]


def redundant(results: Sequence[Result], suite: Mapping[str, Promise]) -> list[Promise]:
    """Return the promises that no drill needs: none names them, and none was caught by them."""
    needed = {function_of(test) for result in results if result.hurts for test in (*result.expected, result.test)}
    return [promise for test, promise in suite.items() if test not in needed]


def harm(result: Result) -> str:
    """Return the effect that a person would have seen, had the change gone out."""
    return f"{PEOPLE[result.hurts]}: {result.drill}"


def lines(found: Results, suite: Mapping[str, Promise]) -> list[str]:
    """Return the report for a terminal, with the bad results last, where they are seen."""
    text = [f"Drills in: {found.system}", "", *matrix(found.results), ""]
    if unneeded := redundant(found.results, suite):
        text += [
            "Promises that none of these drills needs:",
            *(f"  {each.test}: {each.sentence}" for each in unneeded),
            "",
        ]
    for verdict in (Verdict.NOT_HERE, *(each for each in Verdict if each not in GOOD)):
        for result in (each for each in found.results if each.verdict is verdict):
            about = harm(result) if result.hurts else result.drill
            where = f" [{result.test}]" if result.test else ""
            text.append(f"{verdict.upper():<24}{about}{where}")
            text += [f"    {line}" for line in result.message.splitlines()[:3]]
    return [*text, *layers(found.results), score(found.results)]


def matrix(results: Sequence[Result]) -> list[str]:
    """Return the kill matrix as text: a line for each drill, under the promise that caught it."""
    by_test: dict[str, list[Result]] = {}
    for result in results:
        by_test.setdefault(result.test or f"({result.verdict})", []).append(result)
    text = []
    for test in sorted(by_test):
        text.append(test)
        for result in by_test[test]:
            text.append(f"  {result.verdict:<24}{result.seconds:6.0f} s  {result.subject}: {result.drill}")
    return text


def page(found: Results, suite: Mapping[str, Promise]) -> str:
    """Return the report as an HTML page that needs no other file."""
    results = found.results
    tests = sorted(
        {function_of(test) for each in results if each.hurts for test in (*each.expected, each.test) if test}
    )
    return render(
        "drills.html.jinja",
        {},
        Path(__file__).parent,
        system=found.system,
        score=score(results),
        layers=layers(results),
        regressions=[result for result in results if result.hurts and result.verdict not in NOT_JUDGED],
        valid=[result for result in results if not result.hurts and result.verdict not in NOT_JUDGED],
        not_judged={
            title: [result for result in results if result.verdict is verdict]
            for title, verdict in (
                ("Drills that do not apply to this deployment", Verdict.NOT_HERE),
                ("Drills of the owners' program, which need --ol-infrastructure", Verdict.NO_CHECKOUT),
            )
        },
        to_look_at=[
            result for verdict in list(Verdict)[len(GOOD) :] for result in results if result.verdict is verdict
        ],
        tests=tests,
        sentences={test: suite[test].sentence if test in suite else "The deployment comes up." for test in tests},
        redundant=redundant(results, suite),
        harm=harm,
        mark=_mark,
        good=all(result.verdict in GOOD for result in results),
        slowest=SLOWEST,
    )


def write(found: Results, suite: Mapping[str, Promise], directory: Path) -> None:
    """Write drills.html and drills.txt."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "drills.html").write_text(page(found, suite))
    (directory / "drills.txt").write_text("\n".join([*lines(found, suite), ""]))


def _mark(result: Result, test: str) -> str:
    """Return the class of a cell in the matrix: how a test relates to a drill."""
    if function_of(result.test) == test:
        return {Verdict.CAUGHT: "caught", Verdict.UNCLEAR: "unclear"}.get(result.verdict, "elsewhere")
    expected = test in map(function_of, result.expected)
    return "missed" if expected and result.verdict in (Verdict.SURVIVED, Verdict.ELSEWHERE, Verdict.ERROR) else ""
