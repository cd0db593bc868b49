"""The results of drills, as they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.drills.results import Results, Verdict, merge_results, read_results
from tests.unit.drills.examples import (
    FOUND,
    result_of,
)


class TestResults:
    def test_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        FOUND.write(tmp_path / "deep" / "drills.json")
        assert read_results(tmp_path / "deep" / "drills.json") == FOUND

    @pytest.mark.parametrize(
        "text", ["", "{}", '{"system": "a", "results": [{"drill": "a"}]}', '{"system": "a", "results": [], "more": 1}']
    )
    def test_that_are_none(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "drills.json"
        file.write_text(text)
        with pytest.raises(HarnessError, match=r"drills\.json: expected the results of drills: "):
            read_results(file)

    def test_of_several_shards(self) -> None:
        first = Results("a chart", (result_of(Verdict.SURVIVED), result_of(Verdict.QUIET, drill="x")))
        again = Results("a chart", (result_of(Verdict.CAUGHT),))
        found = merge_results([first, again])
        assert [each.verdict for each in found.results] == [Verdict.CAUGHT, Verdict.QUIET]
        assert found.system == "a chart"
