"""The nightly run: it asks for what there is, strictly, and tells of a night that was not green in one place."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.plan.options import OPTIONS, read
from harness.plan.plan import Plan, make_plan
from tests.unit.fakes import Program

ROOT = Path(__file__).parents[3]
TELL = ROOT / ".ci/tell"
PIPELINES = [".github/workflows/nightly.yml", "docs/concourse.yml"]


def command(pipeline: str, tests: str = "mixed") -> str:
    """The one command line of a pipeline that runs the tests, or the drills."""
    [found] = re.findall(rf"tox -e {tests} -- ((?:.*\\\n)*.*)", (ROOT / pipeline).read_text())
    return str(found)


def ends(pipeline: str) -> set[tuple[str, str]]:
    """Versions of chart and Kubernetes, as a pipeline names them."""
    content: dict[str, Any] = yaml.safe_load((ROOT / pipeline).read_text())
    if pipeline == "docs/concourse.yml":
        tasks = [step["params"] for job in content["jobs"] for step in job["plan"] if "task" in step]
        return {(task["CHART"], task["KUBERNETES"]) for task in tasks if task["TESTS"] == "mixed"}
    matrix = content["jobs"]["e2e"]["strategy"]["matrix"]
    charts, versions = (re.findall(r'"(\w+)"', re.findall(r"\[.*?\]", matrix[it])[-1]) for it in matrix)
    return {(chart, version) for chart in charts for version in versions}


def planned(cwd: Path, **options: str) -> Plan:
    """The plan for options by name."""
    values = read(lambda option: [options[option.name]] if option.name in options else [], {}, lambda _: [])
    return make_plan(values, checkout=ROOT, cwd=cwd, environ={})


@pytest.mark.parametrize("pipeline", PIPELINES)
class TestPipelines:
    @pytest.mark.parametrize("tests", ["mixed", "drills"])
    def test_options_are_known_and_strict(self, pipeline: str, tests: str) -> None:
        asked = re.sub(r"\$\(.*?\)", "", command(pipeline, tests))
        assert set(re.findall(r"--[a-z-]+", asked)) <= {"--drills", *(option.flag for option in OPTIONS)}
        assert "--artifacts pull " in asked
        assert "--monitoring required " in asked

    def test_both_ends_of_chart_and_kubernetes(self, pipeline: str, tmp_path: Path) -> None:
        assert ends(pipeline) == {(chart, end) for chart in ("pinned", "latest") for end in ("oldest", "newest")}
        for chart, version in ends(pipeline):
            assert planned(tmp_path, chart=chart, kubernetes=version).chart == chart

    def test_a_week_has_all_drills(self, pipeline: str) -> None:
        asked = command(pipeline, "drills")
        assert asked.startswith('--drills "$(date --utc +%u)/7" ')
        assert "--artifacts pull " in asked


class TestTell:
    @pytest.fixture
    def gh_calls(self, tmp_path: Path) -> Callable[[str], list[str]]:
        """Calls of gh, where it lists these open issues."""

        def gh_calls(issues: str) -> list[str]:
            gh = Program(
                tmp_path,
                "gh",
                f'case "$1 $2" in "issue list") echo "{issues}" ;; issue*) cat >"$here/body" ;; esac',
            )
            env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
            subprocess.run([TELL], input="Not green", text=True, check=True, env=env, timeout=30, capture_output=True)
            assert (tmp_path / "body").read_text() == "Not green"
            return gh.calls

        return gh_calls

    def test_the_open_issue_is_found_by_its_label(self, gh_calls: Callable[[str], list[str]]) -> None:
        calls = gh_calls("12")
        assert "issue list --label nightly --state open" in calls[1]
        assert calls[2:] == ["issue comment 12 --body-file -"]

    def test_where_there_is_none_one_is_made(self, gh_calls: Callable[[str], list[str]]) -> None:
        assert gh_calls("")[2:] == ["issue create --title The nightly run is not green --label nightly --body-file -"]
