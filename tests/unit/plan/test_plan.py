"""The plan: what options come to, and every option that cannot be met refused before anything starts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.digest import fingerprint
from harness.base.errors import HarnessError
from harness.base.files import parse_python
from harness.host import runs
from harness.host.identity import STATE_DIRECTORY, keep_identity
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.options import read
from harness.plan.plan import (
    Plan,
    check_out_courses,
    default_cache,
    evaluate_ol_infrastructure,
    make_plan,
    read_values,
    run_name,
)
from harness.plan.sources.ol_infrastructure import OlInfrastructure
from tests.unit.fakes import owners_checkout

ROOT = Path(__file__).parents[3]
Planner = Callable[..., Plan]


def refusal(work: Callable[[], object]) -> str:
    """The message with which something is refused, seen to be of one or two lines."""
    with pytest.raises(HarnessError) as error:
        work()
    message = str(error.value)
    assert len(message.splitlines()) <= 2, message
    return message


class TestDefaults:
    def test_files_are_ours(self, planned: Planner) -> None:
        plan = planned()
        assert plan.spawner == plan.checkout / "helm/spawner/dynamicImageConfig.py"
        assert plan.values == (plan.checkout / "helm/values/production.yaml",)
        assert plan.authoring_values == (plan.checkout / "helm/values/authoring.yaml",)

    def test_what_a_run_keeps_is_in_the_checkout_and_its_cache_is_not(self, planned: Planner, tmp_path: Path) -> None:
        plan = planned(environ={"XDG_CACHE_HOME": str(tmp_path / "caches")})
        assert plan.state == plan.checkout / ".harness"
        assert plan.cache == tmp_path / "caches/ol-jupyterhub-harness"
        assert plan.evidence == tmp_path / ".evidence"

    def test_cache_elsewhere(self, planned: Planner, tmp_path: Path) -> None:
        assert planned(environ={"HARNESS_CACHE": "mine"}).cache == tmp_path / "mine"

    @pytest.mark.parametrize(
        ("environ", "cache"),
        [
            ({}, "/home/me/.cache/ol-jupyterhub-harness"),
            ({"XDG_CACHE_HOME": "", "HARNESS_CACHE": ""}, "/home/me/.cache/ol-jupyterhub-harness"),
            ({"XDG_CACHE_HOME": "/caches"}, "/caches/ol-jupyterhub-harness"),
            ({"XDG_CACHE_HOME": "/caches", "HARNESS_CACHE": "/mine"}, "/mine"),
        ],
    )
    def test_cache(self, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], cache: str) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        assert default_cache(environ) == Path(cache)

    @pytest.mark.parametrize(("install", "may"), [("auto", True), ("never", False)])
    def test_install(self, planned: Planner, install: str, may: bool) -> None:
        assert planned(install=install).may_install is may


class TestGiven:
    def test_paths_count_from_where_the_person_is(self, planned: Planner, tmp_path: Path) -> None:
        for name in ("one.yaml", "two.yaml", "spawner.py", "gate.yaml"):
            (tmp_path / name).write_text("")
        plan = planned(values=["one.yaml", "two.yaml"], spawner="spawner.py", gate="gate.yaml", evidence="here")
        assert plan.values == (tmp_path / "one.yaml", tmp_path / "two.yaml")
        assert (plan.spawner, plan.evidence) == (tmp_path / "spawner.py", tmp_path / "here")
        assert plan.gate == tmp_path / "gate.yaml"

    def test_home(self, planned: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "home").mkdir()
        (tmp_path / "home/spawner.py").write_text("")
        plan = planned(spawner="~/spawner.py", evidence="~/evidence")
        assert (plan.spawner, plan.evidence) == (tmp_path / "home/spawner.py", tmp_path / "home/evidence")

    @pytest.mark.parametrize("chart", ["auto", "builtin", "4.4.1"])
    def test_chart_by_word_or_version(self, planned: Planner, chart: str) -> None:
        assert planned(chart=chart).chart == chart

    @pytest.mark.parametrize(
        ("given", "found"), [("./upstream", "upstream"), ("upstream/jupyterhub", "upstream/jupyterhub")]
    )
    def test_chart_by_path(self, planned: Planner, tmp_path: Path, given: str, found: str) -> None:
        (tmp_path / "upstream/jupyterhub").mkdir(parents=True)
        (tmp_path / "upstream/jupyterhub/Chart.yaml").write_text("")
        assert planned(chart=given).chart == str((tmp_path / found).resolve())

    @pytest.mark.parametrize("chosen", ["pinned", "1.36.4"])
    def test_kubernetes(self, planned: Planner, chosen: str) -> None:
        assert planned(kubernetes=chosen).kubernetes == chosen

    def test_kubernetes_by_word(self, planned: Planner) -> None:
        oldest, newest = (planned(kubernetes=word).kubernetes.split(".") for word in ("oldest", "newest"))
        assert oldest[0] == newest[0] == "1"
        assert int(oldest[1]) < int(newest[1])

    def test_mirrors(self, planned: Planner) -> None:
        plan = planned(mirror=["quay.io=mirror.example:5000/quay", "charts=https://charts.example/a=b"])
        assert plan.mirrors == {"quay.io": "mirror.example:5000/quay", "charts": "https://charts.example/a=b"}

    def test_ports(self, planned: Planner) -> None:
        plan = planned(hub_port="8000", authoring_port="65535")
        assert (plan.hub_port, plan.authoring_port) == (8000, 65535)

    def test_the_header_says_it_all(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("")
        plan = planned(
            chart="builtin", values="mine.yaml", mirror="tools=tools.example", artifacts="pull", kubernetes="1.36.4"
        )
        text = "\n".join(dataclasses.replace(plan, keep=True).describe())
        for shown in (
            "chart:     builtin",
            "spawner:   helm/spawner/dynamicImageConfig.py",
            f"values:    {tmp_path}/mine.yaml",
            "authoring: helm/values/authoring.yaml",
            "artifacts: pull tools=tools.example",
            "k8s:       1.36.4",
            f"{plan.name}, kept",
            f"evidence:  {plan.evidence}",
        ):
            assert shown in text


class TestOlInfrastructure:
    @pytest.fixture
    def theirs(self, tmp_path: Path) -> OlInfrastructure:
        return owners_checkout(tmp_path / "theirs")

    def test_none(self, planned: Planner) -> None:
        plan = planned()
        assert plan.ol_infrastructure is None
        assert not any("ol-infra" in line for line in plan.describe())

    def test_values_and_spawner_are_theirs_alone(self, planned: Planner, theirs: OlInfrastructure) -> None:
        plan = planned(theirs=theirs)
        assert plan.spawner == theirs.spawner
        assert plan.values == (theirs.values[STUDENT],)
        assert plan.authoring_values == (theirs.values[AUTHORING],)

    def test_what_is_given_wins(self, planned: Planner, theirs: OlInfrastructure, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("")
        (tmp_path / "mine.yaml").write_text("{}")
        plan = planned(theirs=theirs, spawner="mine.py", values="mine.yaml")
        assert plan.spawner == tmp_path / "mine.py"
        assert plan.values == (theirs.values[STUDENT], tmp_path / "mine.yaml")

    def test_without_a_stack_values_are_those_of_files(self, planned: Planner, theirs: OlInfrastructure) -> None:
        plan, without = planned(theirs=dataclasses.replace(theirs, stack="none", values={})), planned()
        assert (plan.values, plan.authoring_values) == (without.values, without.authoring_values)

    def test_header(self, planned: Planner, theirs: OlInfrastructure) -> None:
        line = f"ol-infra:  {theirs.checkout} at abc1234 of 2026-08-22, Production: jupyterhub in jupyter and "
        line += "jupyterhub-authoring in jupyter-authoring, chart 1.2.3, 1 courses pre-pulled, 1 built"
        assert line in planned(theirs=theirs).describe()

    def test_a_course_of_theirs_is_there_already(self, planned: Planner, theirs: OlInfrastructure) -> None:
        message = refusal(lambda: planned(theirs=theirs, course="poetry"))
        assert message.startswith("--course poetry: there is a course poetry already.")

    def test_no_checkout(self, tmp_path: Path) -> None:
        options = {"ol-infrastructure": ["nowhere"], "stack": ["Production"], "base": []}
        message = refusal(lambda: evaluate_ol_infrastructure(options, cwd=tmp_path, environ={}))
        assert message.startswith(f"--ol-infrastructure {tmp_path}/nowhere: expected a directory src/")

    def test_no_such_stack(self, tmp_path: Path) -> None:
        options = {"ol-infrastructure": ["nowhere"], "stack": ["Dev"], "base": []}
        message = refusal(lambda: evaluate_ol_infrastructure(options, cwd=tmp_path, environ={}))
        assert message == "--stack Dev: expected CI, QA, Production, in any case"


class TestRefused:
    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("artifacts", "download", r"--artifacts download: expected one of auto, pull, build"),
            ("install", "yes", r"--install yes: expected one of auto, never"),
            ("kubernetes", "1.36", r"--kubernetes 1\.36: expected pinned, oldest, newest, or a version such as 1\."),
            ("kubernetes", "v1.36.4", r"--kubernetes v1\.36\.4: expected pinned, oldest, newest, or a version such"),
            ("mirror", "quay.io", r"--mirror quay\.io: expected UPSTREAM=LOCATION with UPSTREAM one of docker\.io, "),
            ("mirror", "quay.io=", r"--mirror quay\.io=: expected UPSTREAM=LOCATION"),
            ("mirror", "ghcr.io=here", r"--mirror ghcr\.io=here: expected .* quay\.io, registry\.k8s\.io, tools, char"),
            ("hub-port", "http", r"--hub-port http: expected a port from 1 to 65535, or 0 for any free one"),
            ("hub-port", "65536", r"--hub-port 65536: expected a port"),
            ("authoring-port", "-1", r"--authoring-port -1: expected a port"),
            ("chart", "./nowhere", r"/nowhere is no chart: it has no Chart\.yaml"),
            ("spawner", "nowhere.py", r"--spawner .*/nowhere\.py: cannot be read: No such file or directory"),
            ("spawner", ".", r"--spawner .*: cannot be read: Is a directory"),
            ("values", "nowhere.yaml", r"--values .*/nowhere\.yaml: cannot be read: No such file or directory"),
            ("authoring-values", "no.yaml", r"--authoring-values .*/no\.yaml: cannot be read: No such file"),
        ],
    )
    def test_option(self, planned: Planner, option: str, value: str, message: str) -> None:
        assert re.search(message, refusal(lambda: planned(**{option: value})))

    def test_one_port_for_both_hubs(self, planned: Planner) -> None:
        message = refusal(lambda: planned(hub_port="8000", authoring_port="8000"))
        assert message == "--authoring-port 8000: --hub-port has it. Give another, or 0 for any free one"

    def test_the_last_of_several_values_counts_too(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "good.yaml").write_text("hub: {}\n")
        (tmp_path / "bad.yaml").write_text("- hub\n")
        assert "bad.yaml: expected a mapping" in refusal(lambda: planned(values=["good.yaml", "bad.yaml"]))


class TestValues:
    @pytest.mark.parametrize(("text", "values"), [("", {}), ("# nothing\n", {}), ("hub: {a: 1}", {"hub": {"a": 1}})])
    def test_read(self, tmp_path: Path, text: str, values: dict[str, object]) -> None:
        (tmp_path / "values.yaml").write_text(text)
        assert read_values(tmp_path / "values.yaml", "--values") == values

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"hub:\n  a: 1\n b: 2\n", ", line 3: not YAML: "),
            (b"hub:\n\ta: 1\n", ", line 2: not YAML: found character '\\t'"),
            (b"hub: [1\n", ", line 2: not YAML: "),
            (b"hub: \x07\n", ": not YAML: unacceptable character #x0007"),
            (b"hub: 2026-02-31\n", ": not YAML: day is out of range for month"),
            (b"- hub\n", ": expected a mapping of Helm values, found a list"),
            (b"[]", ": expected a mapping of Helm values, found a list"),
            (b"jupyterhub", ": expected a mapping of Helm values, found a str"),
            (b"hub: \xff\n", ": not a text file: invalid start byte at byte 5"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        file = tmp_path / "values.yaml"
        file.write_bytes(content)
        assert refusal(lambda: read_values(file, "--values")).startswith(f"--values {file}{message}")


class TestSpawner:
    def test_ours(self) -> None:
        parse_python(ROOT / "helm/spawner/dynamicImageConfig.py", "--spawner")

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("a = 1\ndef f(:\n", ", line 2: not Python: invalid syntax\n  | def f(:"),
            (
                "def f():\nreturn 1\n",
                ", line 2: not Python: expected an indented block after function definition on line 1\n  | ",
            ),
            ("a = '", ", line 1: not Python: unterminated string literal (detected at line 1)\n  | a = '"),
            ("a\0b", ": not Python: source code string cannot contain null bytes"),
        ],
    )
    def test_refused(self, tmp_path: Path, code: str, message: str) -> None:
        file = tmp_path / "spawner.py"
        file.write_text(code)
        assert refusal(lambda: parse_python(file, "--spawner")).startswith(f"--spawner {file}{message}")

    def test_it_is_not_run(self, tmp_path: Path) -> None:
        (tmp_path / "spawner.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        parse_python(tmp_path / "spawner.py", "--spawner")
        assert not (tmp_path / "ran").exists()


class TestName:
    def test_same_for_the_same_checkout(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        assert run_name(tmp_path) == run_name(tmp_path / "link")
        assert re.fullmatch(r"jh-[0-9a-f]{8}", run_name(tmp_path))

    def test_another_for_another_checkout(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        assert run_name(tmp_path / "a") != run_name(tmp_path / "b")

    def test_another_in_another_container(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two of them that share a Docker daemon may have the checkout at the same path."""
        mine = run_name(tmp_path)
        monkeypatch.setattr("socket.gethostname", lambda: "another")
        assert run_name(tmp_path) != mine

    def test_same_after_a_run_on_a_host_that_was_renamed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / STATE_DIRECTORY).mkdir()
        mine = run_name(tmp_path)
        keep_identity(tmp_path)
        monkeypatch.setattr("socket.gethostname", lambda: "another")
        assert run_name(tmp_path) == mine

    def test_another_for_another_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = run_name(tmp_path)
        monkeypatch.setattr("os.getuid", lambda: 123456)
        assert run_name(tmp_path) != mine

    def test_given(self, tmp_path: Path) -> None:
        options = read(lambda _: [], {}, lambda _: [])
        assert make_plan(options, checkout=ROOT, cwd=tmp_path, environ={}, cluster_name="mine").name == "mine"


class TestFingerprint:
    def test_where_it_lies_does_not_count(self, tmp_path: Path) -> None:
        for place in ("a", "b"):
            (tmp_path / place / "inner").mkdir(parents=True)
            (tmp_path / place / "inner/file").write_text("text")
        assert fingerprint([tmp_path / "a"]) == fingerprint([tmp_path / "b"])

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"file": "text"}, {"file": "other"}),
            ({"file": "text"}, {"renamed": "text"}),
            ({"file": "text"}, {"file": "text", "more": ""}),
            ({"a": "b", "c": "d"}, {"a": "d", "c": "b"}),
        ],
    )
    def test_content_and_names_count(self, tmp_path: Path, one: dict[str, str], other: dict[str, str]) -> None:
        for place, files in (("one", one), ("other", other)):
            (tmp_path / place).mkdir()
            for name, text in files.items():
                (tmp_path / place / name).write_text(text)
        assert fingerprint([tmp_path / "one"]) != fingerprint([tmp_path / "other"])

    def test_parts_do_not_run_together(self) -> None:
        assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


def test_courses_of_a_run_under_way_are_left_as_they_are(planned: Planner, checkout: Path) -> None:
    plan = planned(course="new.1=courses/gpu_example")
    [course] = check_out_courses(plan, checkout).courses
    (course.path / "mark").touch()
    with runs.held(plan.state, plan.name), pytest.raises(runs.InUseError, match="under way"):
        check_out_courses(plan, checkout)
    assert (course.path / "mark").exists()
