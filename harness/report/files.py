"""The files that a run leaves in its evidence directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from harness.base.errors import HarnessError
from harness.base.timeline import BOOT
from harness.report.graphs import graphs_picture
from harness.report.history import History, RunDifference, difference
from harness.report.picture import picture
from harness.report.run import page
from harness.report.run_record import Record, RecordError, parse_record
from harness.report.summary import summary

RECORD, PAGE, PICTURE, GRAPHS = "run.json", "report.html", "timings.svg", "graphs.svg"


def write(run: Record, evidence: Path, history: History, clean: Callable[[str], str], ci: Path | None = None) -> Path:
    """Write run.json and the reports made of it, and keep it for later runs to compare with; returns the page.

    Args:
        clean: removes secrets from a text.
        ci: file that GitHub shows with the job, to be added to.

    Raises:
        OSError: a file cannot be written.
    """
    evidence.mkdir(parents=True, exist_ok=True)
    text = run.to_json(clean)
    (evidence / RECORD).write_text(text)
    # The reports are made from the record alone.
    run = parse_record(text)
    found, alone = _compared(run, history)
    (evidence / PICTURE).write_text(picture(run))
    (evidence / GRAPHS).unlink(missing_ok=True)
    if drawn := graphs_picture(run):
        (evidence / GRAPHS).write_text(drawn)
    (evidence / PAGE).write_text(page(run, evidence, found, alone))
    if ci:
        with ci.open("a") as file:
            file.write(summary(run, found))
    if run.tests:
        history.remember(run, text)
    return evidence / PAGE


def _compared(run: Record, history: History) -> tuple[RunDifference | None, str]:
    """Return the difference to an earlier run, or why there is none."""
    try:
        before = history.before(run)
    except RecordError:
        return None, "The earlier runs on this machine were written by another version; they cannot be compared."
    if not before:
        return None, "No earlier run on this machine ran any of these tests."
    return difference(before, run), ""


def complete_junit(file: Path, run: Record, clean: Callable[[str], str]) -> None:
    """Add a deployment that did not come up to a JUnit report, and remove secrets from it.

    Pytest itself has no test for that: without it CI would show a run without a failure.

    Raises:
        HarnessError: it is not XML.
        OSError: it cannot be read or written.
    """
    try:
        tree = ElementTree.parse(file)
    except ElementTree.ParseError as error:
        raise HarnessError(f"{file} is not XML: {error}") from error
    suite = tree.find(".//testsuite")
    if suite is not None and run.boots and not run.booted:
        seconds = sum(boot.seconds for boot in run.boots)
        case = ElementTree.SubElement(suite, "testcase", classname=BOOT, name=BOOT, time=f"{seconds:.3f}")
        properties = ElementTree.SubElement(case, "properties")
        ElementTree.SubElement(properties, "property", name="evidence", value=BOOT)
        failure = ElementTree.SubElement(case, "error", message=run.ended or "the deployment did not come up")
        failure.text = run.cause
        suite.attrib |= {name: str(int(suite.get(name, "0")) + 1) for name in ("tests", "errors")}
    for element in tree.iter():
        element.text, element.tail = (text and clean(text) for text in (element.text, element.tail))
        element.attrib.update({name: clean(text) for name, text in element.attrib.items()})
    tree.write(file, encoding="utf-8", xml_declaration=True)
