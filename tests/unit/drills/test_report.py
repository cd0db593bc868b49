"""The report on drills, for people."""

from __future__ import annotations

import re
from pathlib import Path

from harness.drills import report as drill_report
from harness.drills.results import Results
from tests.unit.drills.examples import (
    CULLED,
    FOUND,
    RENDERED,
    SUITE,
)


class TestReport:
    def test_lines(self) -> None:
        lines = drill_report.lines(FOUND, SUITE)
        score = "1 of 3 regressions caught, 1 of 2 valid changes without an alarm"
        assert lines[-1] == f"{score}; 1 do not apply here; 1 need --ol-infrastructure"
        text = "\n".join(lines)
        assert re.search(r"SURVIVED +An author: nobody saves\n    wanted: Authors save", text)
        assert re.search(r"CAUGHT ELSEWHERE +A student: cells do not run \[test_b.py::test_class\]", text)
        assert re.search(r"FALSE ALARM +less noise", text)
        assert "1 by what is asked, median 12 s" in text

    def test_promises_that_no_drill_needs(self) -> None:
        assert drill_report.redundant(FOUND.results, SUITE) == [CULLED, RENDERED]

    def test_page(self, tmp_path: Path) -> None:
        drill_report.write(FOUND, SUITE, tmp_path)
        page = (tmp_path / "drills.html").read_text()
        assert "1 of 3 regressions caught" in page
        assert "course a opened &lt;b&gt;" in page
        assert page.count('class="cell caught"') == 1
        assert page.count('class="cell elsewhere"') == 1
        assert page.count('class="cell missed"') == 2
        assert "Nothing is left." in page
        assert "which need --ol-infrastructure" in page
        assert (tmp_path / "drills.txt").exists()

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        drill_report.write(Results("a chart", ()), SUITE, tmp_path)
        assert "0 of 0 regressions caught" in (tmp_path / "drills.txt").read_text()
