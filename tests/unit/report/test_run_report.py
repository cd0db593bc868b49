"""A run's record, what is different since an earlier one, and what is made of it for people."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.base.intervals import Span, common, merged, total, without
from harness.people.journey import Journey
from harness.program.difference import Difference, Preview
from harness.report import files
from harness.report.history import KEPT_RUNS, History, RunDifference, difference
from harness.report.outcomes import Case, Status
from harness.report.picture import Kind, picture, spent
from harness.report.run import page
from harness.report.run_record import INTERRUPTED, Record, RecordError, Screenshot, Timing, parse_record, pulls
from harness.report.summary import summary
from harness.report.words import Tone, conclude, duration

STARTED = "2026-02-03T21:14:05.000+01:00"
EARLIER = "2026-02-02T21:14:05.000+01:00"
SELF_CHECK = Case("The charts agree.", "", Status.KEPT, test="tests/selfcheck/test_charts_agree.py::test_it")
FAILED = dataclasses.replace(SELF_CHECK, status=Status.BROKEN, why="a label differs")
PNG = b"\x89PNG, as good as any"


def case(
    test: str = "a",
    status: Status = Status.KEPT,
    why: str = "",
    *,
    evidence: str = "",
    cause: str = "",
    detail: str = "",
) -> Case:
    node = f"tests/e2e/test_{test}.py::test_it"
    return Case(f"Promise {test}.", "", status, why, 0.0, node, evidence, cause, detail)


def run(*cases: Case, started: str = STARTED, **about: object) -> Record:
    """A run that came to its end."""
    found = Record(started=started, seconds=100.0, planned=len(cases), whole=True, booted=True, cases=list(cases))
    for name, value in about.items():
        setattr(found, name, value)
    return found


def spans(*pairs: tuple[float, float]) -> list[Span]:
    return [Span(*pair) for pair in pairs]


class TestSpans:
    def test_what_overlaps_counts_once(self) -> None:
        assert merged(spans((4, 6), (0, 2), (1, 3), (3, 3.5))) == spans((0, 3.5), (4, 6))
        assert total(spans((0, 2), (1, 3))) == 3

    def test_a_gap_may_be_closed(self) -> None:
        assert merged(spans((0, 1), (1.5, 2), (4, 5)), gap=1) == spans((0, 2), (4, 5))

    def test_common(self) -> None:
        assert common(spans((0, 4), (6, 8)), spans((1, 2), (3, 7))) == spans((1, 2), (3, 4), (6, 7))

    def test_without(self) -> None:
        assert without(spans((0, 10)), spans((2, 3), (5, 6), (9, 12))) == spans((0, 2), (3, 5), (6, 9))
        assert without(spans((1, 2)), spans((0, 5))) == []


class TestRecord:
    def test_is_read_as_it_was_written(self) -> None:
        written = run(
            case("a", Status.BROKEN, "404", cause="OOMKilled", detail="E  404", evidence="tests-a"),
            about={"chart": "4.3.1"},
            phases={"spawn": [Timing(1.5, "a")]},
            steps=[Span(1.0, 2.0, "kind cluster")],
            screenshots=[Screenshot("a/screen.png", "a")],
        )
        assert parse_record(written.to_json()) == written

    def test_a_text_that_nobody_may_read_is_taken_out_of_every_place(self) -> None:
        written = run(case("a", Status.BROKEN, "token secret1", detail="secret1"), about={"chart": "secret1"})
        text = written.to_json(lambda each: each.replace("secret1", "***"))
        assert "secret1" not in text
        assert json.loads(text)["cases"][0]["why"] == "token ***"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"format": 0}',
            run(case()).to_json().replace('"planned"', '"tests"'),
            run(case()).to_json().replace('"kept"', '"fine"'),
            run(case()).to_json().replace(STARTED, "yesterday"),
        ],
    )
    def test_a_record_of_another_version_is_refused(self, text: str) -> None:
        with pytest.raises(RecordError, match=r"record"):
            parse_record(text)

    def test_a_students_journey(self) -> None:
        journey = Journey(progress=['2026 [Normal] Successfully pulled image "a" in 1.5s (2s including waiting)'])
        journey.phases = [Span(10, 13, "spawn"), Span(13, 13.5, "page")]
        record = run()
        record.add(journey, "a")
        assert record.phases == {"spawn": [Timing(3, "a")], "page": [Timing(0.5, "a")], "pull": [Timing(1.5, "a")]}

    @pytest.mark.parametrize(
        ("took", "seconds"), [("1.25s", 1.25), ("532ms", 0.532), ("1m2.5s", 62.5), ("1h0m1s", 3601), ("900µs", 0.0009)]
    )
    def test_a_pull_in_the_kubelets_words(self, took: str, seconds: float) -> None:
        message = f'Successfully pulled image "a/b:c" in {took} ({took} including waiting). Image size: 12 bytes.'
        assert pulls(message) == pytest.approx([seconds])
        assert pulls('Container image "a" already present on machine') == []

    def test_boot_is_timed_only_where_it_came_to_its_end(self) -> None:
        record = Record()
        with pytest.raises(KeyError), record.booting():
            raise KeyError
        assert (record.booted, record.phases, len(record.boots)) == (False, {}, 1)

    def test_a_boot_in_parts_is_one(self) -> None:
        record = Record()
        for _ in range(2):
            with record.booting():
                assert not record.booted
        [boot] = record.phases["boot"]
        assert (record.booted, len(record.boots)) == (True, 2)
        assert boot.seconds == pytest.approx(sum(part.seconds for part in record.boots))


class TestConclusion:
    def test_all_is_kept(self) -> None:
        found = run(case("a"), case("a"), case("b"), case("c", Status.STILL_THERE), case("d", Status.UNCHECKED))
        found.planned = len(found.tests)
        assert str(conclude(found)) == "All 2 promises are kept; 1 known defect, 1 not checked"
        assert conclude(found).tone is Tone.GOOD

    def test_a_promise_with_a_broken_case_is_broken(self) -> None:
        found = run(case("a"), case("a", Status.BROKEN), case("b"))
        found.planned = 2
        assert str(conclude(found)) == "1 of 2 promises is broken; 1 kept"
        assert conclude(found).tone is Tone.BAD

    def test_boot_failed(self) -> None:
        found = Record(planned=9, ended="hub: ImagePullBackOff\nSee to it")
        assert str(conclude(found)) == "The deployment did not come up: hub: ImagePullBackOff"

    @pytest.mark.parametrize(("booted", "cases"), [(False, []), (True, [case()])])
    def test_interrupted(self, booted: bool, cases: list[Case]) -> None:
        found = run(*cases, booted=booted, ended=INTERRUPTED, planned=3)
        assert "nterrupted" in conclude(found).sentence
        assert conclude(found).tone is Tone.DOUBTFUL

    def test_a_run_whose_ground_gave_way_is_no_verdict(self) -> None:
        found = run(case(), case("b", Status.BROKEN), void=True, ended="Docker is gone. The run ends.")
        assert conclude(found).sentence == "No verdict: Docker is gone. The run ends."
        assert conclude(found).rest.startswith("1 promise broken before")
        assert conclude(found).tone is Tone.DOUBTFUL

    def test_what_was_not_reached_is_told(self) -> None:
        assert str(conclude(run(case("a", Status.BROKEN), planned=3))).endswith("; 2 tests not reached")

    def test_a_self_check_is_no_promise(self) -> None:
        assert str(conclude(run(case("a"), case("b"), SELF_CHECK))) == "All 2 promises are kept"
        found = conclude(run(case("a"), case("b"), FAILED))
        assert (str(found), found.tone) == ("All 2 promises are kept; 1 self-check of the harness failed", Tone.BAD)
        broken = conclude(run(case("a", Status.BROKEN), FAILED))
        assert str(broken) == "The one promise checked is broken; 1 self-check of the harness failed"

    def test_self_checks_alone(self) -> None:
        assert conclude(run(SELF_CHECK, Case("A gate.", "", Status.UNCHECKED))).tone is Tone.GOOD
        assert conclude(run(FAILED)).tone is Tone.BAD
        assert conclude(run(dataclasses.replace(SELF_CHECK, status=Status.UNCHECKED))).tone is Tone.DOUBTFUL

    def test_a_run_that_checked_nothing_is_not_good(self) -> None:
        assert conclude(run(case("a", Status.UNCHECKED))).tone is Tone.DOUBTFUL

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0 s"),
            (0.42, "0.42 s"),
            (12.34, "12.3 s"),
            (59.97, "1 min 00 s"),
            (185, "3 min 05 s"),
            (3720, "1 h 02 min"),
        ],
    )
    def test_times(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text


class TestDifference:
    def test_states(self) -> None:
        before = run(case("a"), case("b", Status.BROKEN), case("c"), case("gone"))
        now = run(case("a", Status.BROKEN), case("b"), case("c", Status.UNCHECKED), case("new"))
        found = difference(before, now)
        promises = {name: [each.promise for each in getattr(found, name)] for name in ("broken", "mended", "unchecked")}
        assert promises == {"broken": ["Promise a."], "mended": ["Promise b."], "unchecked": ["Promise c."]}
        assert [each.promise for each in found.new + found.gone] == ["Promise new.", "Promise gone."]

    def test_of_a_selection_nothing_is_new_or_gone(self) -> None:
        found = difference(run(case("a"), case("b")), run(case("a"), whole=False))
        assert found.nothing
        assert not found.whole

    def test_phases_are_compared_in_what_both_ran(self) -> None:
        def timings(*seconds: float) -> dict[str, list[Timing]]:
            return {"spawn": [Timing(each, "ab"[number]) for number, each in enumerate(seconds)]}

        slow = difference(run(phases=timings(2.0, 90.0)), run(phases=timings(4.0)))
        assert [(each.phase, each.before, each.now, each.slower) for each in slow.changes] == [("spawn", 2, 4, True)]
        assert difference(run(phases=timings(2.0)), run(phases=timings(2.9))).nothing
        assert difference(run(phases=timings(0.01)), run(phases=timings(0.05))).nothing, "nobody feels that"
        assert not difference(run(phases=timings(4.0)), run(phases=timings(2.0))).changes[0].slower


class TestHistory:
    def remember(self, history: History, *runs: Record) -> None:
        for each in runs:
            history.remember(each, each.to_json())

    def test_the_newest_that_ran_the_same_is_compared_with(self, tmp_path: Path) -> None:
        history, now = History(tmp_path / "runs"), run(case("a"), case("b"), case("c"))
        assert history.before(now) is None
        whole, part = run(*now.cases, started=EARLIER), run(case("a"), started="2026-02-03T00:00:00.000+01:00")
        self.remember(history, whole, part, now)
        assert history.before(now) == whole
        assert history.before(run(case("z"))) is None

    def test_only_the_newest_stay(self, tmp_path: Path) -> None:
        history = History(tmp_path)
        self.remember(history, *(run(case(), started=f"2026-02-{day:02}T00:00:00.000+00:00") for day in range(1, 26)))
        assert len(list(tmp_path.iterdir())) == KEPT_RUNS
        before = history.before(run(case(), started="2026-03-01T00:00:00.000+00:00"))
        assert before
        assert before.started.startswith("2026-02-25")

    def test_runs_of_another_version_are_left_aside(self, tmp_path: Path) -> None:
        history = History(tmp_path)
        (tmp_path / "1999999999.0.json").write_text("{}")
        with pytest.raises(RecordError):
            history.before(run(case()))
        self.remember(history, run(case(), started=EARLIER))
        assert history.before(run(case()))


class TestPicture:
    @pytest.fixture
    def record(self) -> Record:
        """Boot 10 s, a test of 60 s with 20 s of waiting, teardown 5 s; 100 s in all."""
        found = run(case("culler"))
        at = found.began
        parts = (Span(at, at + 15, "setup"), Span(at + 15, at + 75, "call"), Span(at + 75, at + 80, "teardown"))
        found.cases = [Case("It goes.", "", Status.KEPT, test=found.cases[0].test, parts=parts)]
        found.boots, found.steps = [Span(at + 1, at + 11)], [Span(at + 1, at + 9, "kind <cluster>")]
        found.steps.append(Span(at + 75, at + 80, "teardown"))
        found.waits = [Span(at + 5, at + 10, "nodes"), Span(at + 20, at + 40, "the culler"), Span(at + 30, at + 35)]
        return found

    def test_each_second_goes_to_one_thing(self, record: Record) -> None:
        assert spent(record) == pytest.approx({Kind.BOOTING: 15, Kind.WAITING: 20, Kind.WORKING: 45, Kind.ELSE: 20})

    def test_it_is_an_svg_that_stands_alone(self, record: Record) -> None:
        root = ElementTree.fromstring(picture(record))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert texts.index("kind <cluster>") < texts.index("culler") < texts.index("teardown")
        assert "tests that wait 20.0 s, 20%" in texts

    def test_of_a_run_of_nothing(self) -> None:
        ElementTree.fromstring(picture(Record()))


class TestPage:
    def test_says_the_verdict_first_and_why(self, tmp_path: Path) -> None:
        bad = case("a", Status.BROKEN, "GET /<b> answered 404", cause="OOMKilled", detail="E  all", evidence="a-b[c]")
        html = page(run(bad, case("b"), case("c", Status.UNCHECKED, "no GPU")), tmp_path)
        assert html.index("1 of 2 promises is broken") < html.index("GET /&lt;b&gt; answered 404")
        for each in ("OOMKilled", "E  all", 'href="a-b%5Bc%5D/"', "no GPU"):
            assert each in html
        assert "<script" not in html

    def test_self_checks_have_a_section_of_their_own(self, tmp_path: Path) -> None:
        text = page(run(case("a"), SELF_CHECK, dataclasses.replace(FAILED, promise="It pulls.")), tmp_path)
        section = text[text.index("Self-checks of the harness</h2>") : text.index("<h2>Kept</h2>")]
        assert "a label differs" in section
        assert "passed: The charts agree." in section
        assert text.count("The charts agree.") == 1, "a self-check is among the promises"
        assert "<h2>Broken</h2>" not in text

    def test_what_was_found_of_many_cases_is_told_once(self, tmp_path: Path) -> None:
        cases = [Case("A.", str(each), Status.BROKEN, "404", test=f"t.py::a[{each}]") for each in range(5)]
        assert page(run(*cases), tmp_path).count("<p>404</p>") == 1

    def test_needs_nothing_but_itself(self, tmp_path: Path) -> None:
        (tmp_path / "screen.png").write_bytes(PNG)
        shots = [Screenshot("screen.png", case().test), Screenshot("gone.png", case().test)]
        html = page(run(case(), screenshots=shots), tmp_path)
        assert html.count('src="data:image/png;base64,') == 1
        assert not re.findall(r'(?:src|href)="http', html)

    @pytest.mark.parametrize("record", [Record(ended="no docker"), Record(ended=INTERRUPTED), run(case())])
    def test_of_a_run_that_says_little(self, tmp_path: Path, record: Record) -> None:
        assert conclude(record).sentence in page(record, tmp_path)

    def test_of_a_boot_that_failed(self, tmp_path: Path) -> None:
        (tmp_path / "boot").mkdir()
        html = page(Record(ended="hub: not ready\nSee to it", cause="ImagePullBackOff"), tmp_path)
        for each in ("See to it", "ImagePullBackOff", 'href="boot/"'):
            assert each in html

    def test_difference(self, tmp_path: Path) -> None:
        found = RunDifference(run(started=EARLIER), 1, whole=False, broken=[case("x", Status.BROKEN)])
        html = page(run(case()), tmp_path, found)
        assert "the run of 2 February 2026, 21:14, in the 1 test that ran in both" in html
        assert "Promise x." in html


class TestSummary:
    def test_says_what_is_broken_and_what_is_not_checked(self) -> None:
        bad = case("a", Status.BROKEN, "a|b <c>\nmore", cause="OOM_Killed")
        text = summary(run(bad, case("b", Status.UNCHECKED, "no GPU"), phases={"spawn": [Timing(2), Timing(4)]}))
        assert text.startswith("## ❌ The one promise checked is broken\n\n1 not checked.\n")
        assert r"a\|b \<c\> more" in text
        assert r"OOM\_Killed" in text
        assert "| spawn | 2 | 3.0 s | 4.0 s |" in text
        assert "- Promise b.: no GPU" in text

    def test_says_which_self_checks_failed(self) -> None:
        text = summary(run(case("a"), FAILED))
        assert "### Self-checks of the harness that failed\n\n- **The charts agree.**: a label differs" in text
        assert "### Broken" not in text
        assert "Self-checks" not in summary(run(case("a"), SELF_CHECK))


class TestFiles:
    def test_all_are_made_of_the_cleaned_record(self, tmp_path: Path) -> None:
        ci, history = tmp_path / "summary.md", History(tmp_path / "runs")
        ci.write_text("before\n")
        written = files.write(
            run(case("a", Status.BROKEN, "token hush")),
            tmp_path / "evidence",
            history,
            lambda text: text.replace("hush", "***"),
            ci,
        )
        assert written == tmp_path / "evidence/report.html"
        assert {file.name for file in written.parent.iterdir()} == {"report.html", "run.json", "timings.svg"}
        every = [*written.parent.iterdir(), *history.directory.iterdir(), ci]
        assert not [file.name for file in every if "hush" in file.read_text()]
        assert ci.read_text().startswith("before\n## ")
        assert "No earlier run" in written.read_text()

    def test_earlier_runs_of_another_version(self, tmp_path: Path) -> None:
        (tmp_path / "1.json").write_text("{}")
        assert "another version" in files.write(run(case()), tmp_path, History(tmp_path), str).read_text()

    def test_a_boot_that_failed_is_nothing_to_compare_with(self, tmp_path: Path) -> None:
        files.write(Record(ended="no docker"), tmp_path, History(tmp_path / "runs"), str)
        assert not (tmp_path / "runs").exists()

    def test_junit(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        file.write_text('<testsuites><failure message="cookie: hush">hush &lt;</failure></testsuites>')
        files.complete_junit(file, Record(), lambda text: text.replace("hush", "***"))
        assert '<failure message="cookie: ***">*** &lt;</failure>' in file.read_text()

    def test_junit_of_a_boot_that_failed(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        file.write_text('<testsuites><testsuite tests="0" errors="0"/></testsuites>')
        record = Record(ended="the hub crashes", cause="for hush", boots=[Span(1, 3, "boot")])
        files.complete_junit(file, record, lambda text: text.replace("hush", "***"))
        xml = file.read_text()
        assert '<testsuite tests="1" errors="1"><testcase classname="boot" name="boot" time="2.000">' in xml
        assert '<error message="the hub crashes">for ***</error>' in xml
        assert '<property name="evidence" value="boot" />' in xml


class TestPreview:
    """A change of the owners' checkout, in a run's reports."""

    MANY = tuple(Difference("values", f"jupyterhub a{number}", "1", "2") for number in range(50))
    PREVIEW = Preview(
        "1234 of today",
        (*MANY, Difference("routes", "hub <b>", "one\ntwo\n", "one\nthree\n")),
        ("not checked: objects",),
    )

    def test_stands_first_in_the_page_and_whole(self, tmp_path: Path) -> None:
        found = page(Record(preview=self.PREVIEW), tmp_path)
        assert "<h2>Changed since" in re.findall(r"<h2>[^<]*", found)[0]
        assert all(f"jupyterhub a{number}: 1 → 2" in found for number in range(50))
        assert "hub &lt;b&gt;" in found
        assert "-two\n+three" in found
        assert "not checked: objects" in found

    def test_stands_first_in_the_summary_in_short(self) -> None:
        found = summary(Record(preview=self.PREVIEW))
        assert found.splitlines()[0].startswith("## ")
        assert "### Changed since 1234 of today: 51 values" in found
        assert "- values: jupyterhub a0: 1 → 2" in found
        assert "- values: 20 more, in report.html" in found
        assert "- *not checked: objects*" in found

    def test_is_in_the_record(self) -> None:
        assert parse_record(Record(preview=self.PREVIEW).to_json()).preview == self.PREVIEW
