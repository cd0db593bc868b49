"""Drills as they are written, and what they make of a plan."""

from __future__ import annotations

import ast
import base64
import dataclasses
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.base.errors import HarnessError
from harness.base.shell import run
from harness.charts.chart import Chart
from harness.drills.model import (
    DRILLS,
    Addition,
    DoesNotApplyError,
    Drill,
    Renaming,
    Replacement,
    ValueChanges,
    check_tests,
    keys_of,
    merged,
    selected,
)
from harness.drills.planting import changed_image, in_the_hub, planted, wheel_of
from harness.drills.promise_index import Layer, promises
from harness.drills.reader import read_drills, read_file
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.options import OPTIONS
from harness.plan.plan import Plan, make_plan
from harness.plan.sources.new_courses import spawner_with
from tests.unit import fakes

CHECKOUT = Path(__file__).resolve().parents[3]
OURS = read_drills(CHECKOUT / DRILLS)
COLLECTIONS = (list, tuple, set, frozenset, dict)
BUILTIN = Chart(CHECKOUT / "helm/jupyterhub", "0", "built-in")
PLAN = make_plan(
    {option.name: [option.default] if option.default else [] for option in OPTIONS},
    checkout=CHECKOUT,
    cwd=CHECKOUT,
    environ={},
)
REGRESSION = {"name": "all is lost", "hurts": "student", "caught by": "test_a.py::test_b", "values": {"a": 1}}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan of a run without options."""
    return dataclasses.replace(PLAN, state=tmp_path)


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels come from nowhere, and have their package's name in them."""

    def wheel_of(package: str, into: Path) -> Path:
        wheel = into / f"{package}.whl"
        wheel.write_text(package)
        return wheel

    monkeypatch.setattr("harness.drills.planting.wheel_of", wheel_of)


def written(directory: Path, *drills: object) -> Path:
    file = directory / "cookies.yaml"
    file.write_text(yaml.safe_dump(list(drills), sort_keys=False))
    return file


def drill(directory: Path, **keys: object) -> Drill:
    [found] = read_file(written(directory, {**REGRESSION, **keys}))
    return found


class TestReading:
    def test_a_regression(self, tmp_path: Path) -> None:
        found = drill(tmp_path, says="lost")
        assert (found.name, found.hurts, found.caught_by) == ("all is lost", "student", ("test_a.py::test_b",))
        assert (found.subject, found.line, found.says) == ("cookies", 1, "lost")
        assert found.values == {STUDENT: ValueChanges({"a": 1})}

    @pytest.mark.parametrize(
        ("keys", "complaint"),
        [
            ({"hurts": "nobody"}, "'hurts' is one of student, author, operator; found 'nobody'"),
            ({"caught by": []}, "a regression has the test that must catch it"),
            ({"wanted": "something"}, "a regression has the test that must catch it"),
            ({"valid": "it is", "try": "test_a.py::test_b"}, "a valid change hurts nobody"),
            ({"colour": "red"}, "nobody knows 'colour'"),
            ({"values": {}}, "it changes nothing"),
            ({"values": [1]}, "values: expected a mapping, found [1]"),
            ({"values deleted": 3}, "'values deleted': expected a text or a list of texts, found 3"),
            ({"spawner": [{"replace": "a"}]}, "spawner: expected {replace, with}, {rename, to} or {append}"),
            ({"spawner": [{"replace": ["a", "b", "c"], "with": ["d", "e"]}]}, "spawner: expected {replace, with}"),
            ({"chart": {"append": "a"}}, "chart: expected a file of the chart"),
            ({"image": {"files": {}}}, "image: expected a course"),
            ({"registry": {"push": "a"}}, "registry: nobody knows 'push'; there are delete, retag"),
            ({"registry": {"retag": ["a"]}}, "registry: retag: expected two tags"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told_with_its_place(
        self, tmp_path: Path, keys: dict[str, object], complaint: str
    ) -> None:
        with pytest.raises(HarnessError) as error:
            read_file(written(tmp_path, REGRESSION, {**REGRESSION, "name": "another", **keys}))
        assert str(error.value).startswith(f"cookies.yaml, line 6, 'another': {complaint}")

    def test_a_key_that_is_there_twice(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies.yaml"
        file.write_text("- name: a\n  hurts: student\n  hurts: author\n")
        with pytest.raises(HarnessError, match="line 1, 'a': 'hurts' is there twice"):
            read_file(file)

    def test_no_list_and_no_yaml(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies.yaml"
        for text, complaint in (("a: 1", "expected a list of drills"), ("- [", "not YAML")):
            file.write_text(text)
            with pytest.raises(HarnessError, match=complaint):
                read_file(file)

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        written(tmp_path, REGRESSION, REGRESSION)
        with pytest.raises(HarnessError, match=r"all is lost: cookies\.yaml, line \d+ has a drill of the same name"):
            read_drills(tmp_path)

    def test_a_test_that_there_is_none_of(self, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match=r"there is no promise test_a\.py::test_b"):
            check_tests(drill(tmp_path), [])
        check_tests(drill(tmp_path, **{"caught by": ["boot", "test_a.py::test_b[x]"]}), ["test_a.py::test_b"])


class TestSelecting:
    def test_by_words(self) -> None:
        assert {each.subject for each in selected(OURS, words="CULLER:")} <= {"culler"}
        assert [each.name for each in selected(OURS, words="uppercase links")] == [OURS_BY_WORD]

    def test_shards_are_all_and_share_nothing(self) -> None:
        parts = [selected(OURS, shard=f"{part}/4") for part in (1, 2, 3, 4)]
        assert sorted(each.name for part in parts for each in part) == sorted(each.name for each in OURS)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1

    @pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b"])
    def test_no_such_shard(self, shard: str) -> None:
        with pytest.raises(HarnessError, match="expected a part of all"):
            selected(OURS, shard=shard)


OURS_BY_WORD = "uppercase links open the default course"


class TestEditing:
    def test_replacement(self) -> None:
        assert Replacement(("a b",), ("c",)).on("x a b y") == "x c y"
        assert Replacement(("nowhere", "a"), ("x", "y")).on("a b") == "y b"

    @pytest.mark.parametrize("text", ["", "a a"])
    def test_what_is_not_there_once(self, text: str) -> None:
        with pytest.raises(DoesNotApplyError, match="expected once"):
            Replacement(("a",), ("b",)).on(text)

    def test_renaming(self) -> None:
        assert Renaming("a", "b").on("a.aa(a)") == "b.aa(b)"
        with pytest.raises(DoesNotApplyError):
            Renaming("a", "b").on("aa")

    def test_addition(self) -> None:
        assert Addition("c = 1\n").on("a = 1\n\n") == "a = 1\n\nc = 1\n"


class TestValues:
    BEFORE: dict[str, Any] = {"a": {"b": {"c": 1, "d": 2}, "x.y": 3}, "list": [{"k": 1}, {"k": 2}]}  # noqa: RUF012  # nobody changes it

    def test_paths(self) -> None:
        assert keys_of(r"a.b\.c.d") == ["a", "b.c", "d"]

    def test_given(self) -> None:
        changes = ValueChanges({"a.b": {"c": 5}, r"a.x\.y": 4, "new.one": 1, "list.1.k": 9})
        assert changes.on(self.BEFORE) == {
            "a": {"b": {"c": 5}, "x.y": 4},
            "list": [{"k": 1}, {"k": 9}],
            "new": {"one": 1},
        }

    def test_deleted(self) -> None:
        found = ValueChanges(deleted=("a.b.c", "list.0")).on(self.BEFORE)
        assert found == {"a": {"b": {"d": 2}, "x.y": 3}, "list": [{"k": 2}]}

    @pytest.mark.parametrize("path", ["a.nothing", "nothing.at.all", "a.b.c.d", "list.7", "list.k"])
    def test_deleted_and_not_there(self, path: str) -> None:
        with pytest.raises(DoesNotApplyError, match=path):
            ValueChanges(deleted=(path,)).on(self.BEFORE)

    def test_files_merge_as_helm_merges_them(self, tmp_path: Path) -> None:
        files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
        files[0].write_text("a: {b: 1, c: [1, 2]}\nd: 1")
        files[1].write_text("a: {b: 2, c: [3]}")
        assert merged(files) == {"a": {"b": 2, "c": [3]}, "d": 1}


class TestPlanting:
    def test_only_what_the_drill_changes(self, plan: Plan, tmp_path: Path) -> None:
        changes = {"values": {"cull.every": 5}, "spawner": [{"replace": '"expires_days": 1', "with": "**{}"}]}
        found = planted(drill(tmp_path, **changes), plan, BUILTIN, tmp_path / "scratch")
        [values] = found.values
        assert yaml.safe_load(values.read_text())["cull"]["every"] == 5
        assert '["cookie_options"] = {**{}}' in found.spawner.read_text()
        assert (found.authoring_values, found.chart) == (plan.authoring_values, plan.chart)

    def test_a_chart(self, plan: Plan, tmp_path: Path) -> None:
        changes = {"chart": {"file": "Chart.yaml", "append": "# and more"}, "values": {"a": 1}}
        found = planted(drill(tmp_path, **changes), plan, BUILTIN, tmp_path / "scratch")
        assert (Path(found.chart) / "Chart.yaml").read_text().endswith("# and more\n")
        assert "and more" not in (BUILTIN.path / "Chart.yaml").read_text()

    def test_a_file_that_the_chart_has_not(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(DoesNotApplyError, match="this chart has no file a"):
            planted(drill(tmp_path, chart={"file": "a", "append": "b"}), plan, BUILTIN, tmp_path / "scratch")

    def test_a_spawner_that_is_no_python_then(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match="not Python"):
            planted(drill(tmp_path, spawner=[{"append": "("}]), plan, BUILTIN, tmp_path / "scratch")

    def test_a_package_in_both_hubs(self, plan: Plan, tmp_path: Path, no_index: None) -> None:
        found = planted(drill(tmp_path, **{"hub package": "culler==2"}), plan, BUILTIN, tmp_path / "scratch")
        for files in (found.values, found.authoring_values):
            hub = merged(files)["hub"]
            assert hub["extraFiles"]["wheel"] == {"mountPath": "/opt/culler==2.whl", "binaryData": "Y3VsbGVyPT0y"}
            assert hub["extraEnv"]["PYTHONPATH"] == "/opt/culler==2.whl"
            assert "DATABASE_URL" in hub["extraEnv"], "what was there is gone"

    def test_a_hub_imports_from_a_wheel(self, tmp_path: Path) -> None:
        wheel = tmp_path / "thing-2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("thing/__init__.py", "version = 2")
        values = in_the_hub(wheel)
        placed = tmp_path / Path(values["hub.extraEnv.PYTHONPATH"]).name
        placed.write_bytes(base64.b64decode(values["hub.extraFiles.wheel"]["binaryData"]))
        told = {"PYTHONPATH": str(placed)}
        assert run([sys.executable, "-c", "import thing; print(thing.version)"], env=told, timeout=20).strip() == "2"

    def test_no_such_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", fakes.Program(tmp_path, "python", "echo no match; exit 1").path)
        with pytest.raises(HarnessError, match=r"There is no wheel of culler==9\n  \| no match"):
            wheel_of("culler==9", tmp_path)

    def test_values_that_a_checkout_has_in_place_of_ours(
        self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.drills.planting.replaced_values", lambda plan, role: {"prePuller.extraImages": {}})
        found = drill(tmp_path, **{"values deleted": ["prePuller.extraImages.a"]})
        with pytest.raises(DoesNotApplyError, match=r"a prePuller\.extraImages of its own"):
            planted(found, plan, BUILTIN, tmp_path / "scratch")


class TestImages:
    def test_of_the_changed_repository(self, tmp_path: Path) -> None:
        course = tmp_path / "trees"
        course.mkdir()
        (course / "Dockerfile").write_text("FROM base\n")
        (course / "a.ipynb").write_text("{}")
        built: dict[str, Any] = {}

        def images(tags: list[str], own: dict[str, Path]) -> dict[str, str]:
            files = {file.name: file.read_text() for file in own["trees"].iterdir()}
            built.update(files)
            return dict.fromkeys(tags, "layout")

        builder: Any = SimpleNamespace(images=images)
        change = {"course": "trees", "dockerfile": [{"append": "RUN x"}], "files": {"a.ipynb": None, "b": "text"}}
        found = drill(tmp_path, image=change)
        assert list(changed_image(found, builder, {"trees": course}, tmp_path)) == ["trees"]
        assert built == {"Dockerfile": "FROM base\n\nRUN x\n", "b": "text"}
        with pytest.raises(DoesNotApplyError, match="course trees has no repository"):
            changed_image(found, builder, {}, tmp_path)
        (course / "a.ipynb").unlink()
        with pytest.raises(DoesNotApplyError, match=r"no file a\.ipynb"):
            changed_image(found, builder, {"trees": course}, tmp_path)

    def test_no_image(self, tmp_path: Path) -> None:
        nobody: Any = None
        assert changed_image(drill(tmp_path), nobody, {}, tmp_path) == {}


class TestSuite:
    """What the promises ask for, by their source."""

    SUITE = promises(CHECKOUT)

    @pytest.mark.parametrize(
        ("test", "layer"),
        [
            ("test_resources.py::test_server_is_guaranteed_what_production_gives", Layer.RENDERED),
            ("test_image_selection.py::test_request_decides", Layer.ASKED),
            ("test_notebook_404.py::test_notebook_opens", Layer.LIVE),
            ("test_authoring_workflow.py::TestMistakes::test_missing_image", Layer.LIVE),
        ],
    )
    def test_layers(self, test: str, layer: Layer) -> None:
        assert self.SUITE[test].layer is layer

    def test_a_promise_is_the_first_line_of_a_docstring(self) -> None:
        assert self.SUITE["test_hub_health.py::test_both_hubs_are_healthy"].says.startswith("Both hubs answer")

    def test_what_is_no_promise_of_the_deployment(self) -> None:
        files = {test.partition("::")[0] for test in self.SUITE}
        assert not files & {"test_course.py", "test_charts_agree.py", "test_known_defects.py"}

    def test_the_cheapest_come_first(self) -> None:
        order = sorted(self.SUITE.values(), key=lambda promise: promise.cost)
        assert order[0].layer is Layer.RENDERED
        assert order[-1].slow


class TestOurs:
    """The drills in tests/drills."""

    def test_there_are_enough(self) -> None:
        valid = sum(bool(each.valid) for each in OURS)
        assert valid >= 20
        assert len(OURS) - valid >= 60

    @pytest.mark.parametrize("ours", OURS, ids=lambda ours: f"{ours.subject}: {ours.name}")
    def test_applies_and_changes_something(self, plan: Plan, tmp_path: Path, ours: Drill, no_index: None) -> None:
        """Each names tests that there are, applies to our own spawner, values and chart, and changes one of them."""
        check_tests(ours, TestSuite.SUITE)
        found = planted(ours, plan, BUILTIN, tmp_path / "scratch")
        assert not ours.spawner or _tree(found.spawner) != _tree(plan.spawner)
        assert STUDENT not in ours.values or merged(found.values) != merged(plan.values)
        assert AUTHORING not in ours.values or merged(found.authoring_values) != merged(plan.authoring_values)

    @pytest.mark.parametrize("ours", [each for each in OURS if each.spawner and each.valid], ids=lambda ours: ours.name)
    def test_lists_of_a_valid_spawner_can_be_extended(self, plan: Plan, tmp_path: Path, ours: Drill) -> None:
        """Whatever a valid change makes of the lists, a course is added to them when the file is loaded."""
        found = planted(ours, plan, BUILTIN, tmp_path / "scratch")
        names = fakes.load_spawner(spawner_with(found.spawner, {"new.cpu": False, "new.gpu": True}))
        lists = [value for value in names.values() if isinstance(value, COLLECTIONS) and "new.gpu" in value]
        assert any("base_authoring_image" in value for value in lists)
        assert any("base_authoring_image" not in value and "new.cpu" not in value for value in lists)


def _tree(spawner: Path) -> str:
    return ast.dump(ast.parse(spawner.read_text()))
