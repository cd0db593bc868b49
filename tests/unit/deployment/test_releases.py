"""Releases: which chart, values and secrets they are made of, and their prerequisites."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.artifacts.resolve import pinned_chart
from harness.base.errors import EnvironmentFault, HarnessError
from harness.charts import chart
from harness.charts.helm import Helm
from harness.deployment import releases
from harness.deployment.releases import find_chart, prerequisites
from harness.plan.hubs import AUTHORING, SCALED, STUDENT
from harness.plan.plan import Plan, check_out_courses
from harness.services.postgres import Postgres
from tests.unit.fakes import Program, owners_checkout

Planner = Callable[..., Plan]
SECRETS = dict.fromkeys(("jupyterhub", "jupyterhub-authoring", "jupyterhub-scaled", "admin_password"), "s3cret")


class TestSecrets:
    def test_random_and_kept(self, tmp_path: Path) -> None:
        def made(name: str) -> dict[str, str]:
            releases.create_secrets(tmp_path / name)
            return releases.read_secrets(tmp_path / name)

        mine, again, other = map(made, ("mine", "mine", "other"))
        assert mine == again
        hubs = ("jupyterhub", "jupyterhub-authoring", "jupyterhub-scaled")
        apisix = (releases.APISIX_ADMIN, releases.APISIX_VIEWER, releases.APISIX_SESSION)
        names = {"database", "gate_session", "admin_password", *apisix, *hubs, *(f"{hub}-metrics" for hub in hubs)}
        assert set(mine) == names
        assert len({*mine.values(), *other.values()}) == 2 * len(names)

    def test_a_kept_cluster_gets_what_an_older_harness_did_not_make(self, tmp_path: Path) -> None:
        (tmp_path / "secrets.json").write_text('{"database": "before"}')
        releases.create_secrets(tmp_path / "secrets.json")
        found = releases.read_secrets(tmp_path / "secrets.json")
        assert found["database"] == "before"
        assert len(found["gate_session"]) == len(found["jupyterhub-metrics"]) == 64

    def test_only_their_owner_may_read_them(self, tmp_path: Path) -> None:
        releases.create_secrets(tmp_path / "secrets.json")
        assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600

    def test_reading_writes_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            releases.read_secrets(tmp_path / "secrets.json")
        assert list(tmp_path.iterdir()) == []

    def test_a_run_killed_while_it_writes_leaves_none(
        self, tmp_path: Path, killed_while_writing: Callable[[], AbstractContextManager[None]]
    ) -> None:
        with killed_while_writing():
            releases.create_secrets(tmp_path / "secrets.json")
        assert not (tmp_path / "secrets.json").exists()
        releases.create_secrets(tmp_path / "secrets.json")
        assert len(releases.read_secrets(tmp_path / "secrets.json")) == 12


REFUSED = 'echo "Error: looks like $repo is not a valid chart repository or cannot be reached: refused" >&2; exit 1'
NO_SUCH = """for a; do case $a in --version=*) v=${a#*=} ;; esac; done
echo "Error: chart \\"jupyterhub\\" version \\"$v\\" not found in repository" >&2; exit 1"""
GIVES = 'for a; do case $a in --untardir=*) into=${a#*=};; esac; done; cp -r "$here/../published" "$into/jupyterhub"'


class TestFindChart:
    @pytest.fixture
    def helm(self, tmp_path: Path) -> Callable[[str], tuple[Helm, Program]]:
        def helm(script: str) -> tuple[Helm, Program]:
            program = Program(tmp_path / "bin", "helm", script)
            return Helm(program.path), program

        return helm

    @pytest.fixture
    def published(self, tmp_path: Path) -> str:
        """What a repository does that has the chart."""
        (tmp_path / "published").mkdir()
        (tmp_path / "published/Chart.yaml").write_text("name: jupyterhub\nversion: 4.4.1-published\n")
        return GIVES

    def test_builtin_asks_nobody(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]) -> None:
        tool, program = helm("exit 1")
        plan = planned(chart="builtin")
        found = find_chart(plan, tool)
        assert (found.path, found.origin) == (plan.checkout / "helm/jupyterhub", "the built-in chart")
        assert program.calls == []

    def test_auto_takes_the_pinned_version(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str
    ) -> None:
        tool, program = helm(published)
        plan = planned()
        found = find_chart(plan, tool)
        assert (found.version, found.origin) == ("4.4.1-published", "chart repository")
        [call] = program.calls
        assert f"--version={pinned_chart(plan.checkout)} " in call

    def test_auto_takes_the_version_that_a_checkout_pins(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str, tmp_path: Path
    ) -> None:
        tool, program = helm(published)
        find_chart(planned(theirs=owners_checkout(tmp_path / "theirs")), tool)
        assert "--version=1.2.3 " in program.calls[0]

    def test_a_chart_that_is_given_wins_over_a_checkout(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str, tmp_path: Path
    ) -> None:
        tool, program = helm(published)
        find_chart(planned(theirs=owners_checkout(tmp_path / "theirs"), chart="4.4.0"), tool)
        assert "--version=4.4.0 " in program.calls[0]

    def test_auto_falls_back_with_a_checkout_too(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], tmp_path: Path
    ) -> None:
        tool, _ = helm(REFUSED)
        found = find_chart(
            planned(theirs=owners_checkout(tmp_path / "theirs"), mirror="charts=https://charts.example"), tool
        )
        assert found.origin == "the built-in chart, because https://charts.example cannot be reached"

    def test_auto_falls_back_and_says_so(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]) -> None:
        tool, _ = helm(REFUSED)
        found = find_chart(planned(mirror="charts=https://charts.example"), tool)
        assert found.origin == "the built-in chart, because https://charts.example cannot be reached"

    def test_auto_does_not_fall_back_where_the_repository_answers(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]
    ) -> None:
        tool, _ = helm(NO_SUCH)
        with pytest.raises(HarnessError, match=r"\Ahttps://charts\.example has no version .* of jupyterhub\.\Z"):
            find_chart(planned(mirror="charts=https://charts.example"), tool)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            (REFUSED, r"\Ahttps://charts\.example gives no chart: .* cannot be reached: refused\Z"),
            (NO_SUCH, r"\Ahttps://charts\.example has no version 9\.9\.9 of jupyterhub\.\Z"),
        ],
    )
    def test_a_version_never_falls_back(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], script: str, message: str
    ) -> None:
        tool, _ = helm(script)
        with pytest.raises(HarnessError, match=message):
            find_chart(planned(chart="9.9.9", mirror="charts=https://charts.example"), tool)

    @pytest.mark.parametrize("chart", ["pinned", "latest"])
    @pytest.mark.parametrize("script", [REFUSED, NO_SUCH], ids=["refused", "no such"])
    def test_neither_does_a_word_for_one(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], script: str, chart: str
    ) -> None:
        tool, _ = helm(script)
        with pytest.raises(HarnessError, match=r"\Ahttps://charts\.example (gives no chart|has no version)"):
            find_chart(planned(chart=chart, mirror="charts=https://charts.example"), tool)

    def test_pinned(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str) -> None:
        tool, program = helm(published)
        plan = planned(chart="pinned")
        find_chart(plan, tool)
        [call] = program.calls
        assert f"--version={pinned_chart(plan.checkout)} " in call

    def test_latest(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str) -> None:
        tool, program = helm(f"[ $1 != show ] || {{ echo 'version: 9.0.1'; exit; }}\n{published}")
        find_chart(planned(chart="latest"), tool)
        assert [call.split()[0] for call in program.calls] == ["show", "pull"]
        assert "--version=9.0.1 " in program.calls[1]

    def test_a_mirror_is_asked_in_its_place(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str
    ) -> None:
        tool, program = helm(published)
        find_chart(planned(mirror="charts=https://charts.example/here"), tool)
        assert "--repo=https://charts.example/here " in program.calls[0]

    def test_path(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], tmp_path: Path) -> None:
        (tmp_path / "mine/jupyterhub").mkdir(parents=True)
        (tmp_path / "mine/jupyterhub/Chart.yaml").write_text("name: jupyterhub\nversion: 0.0.1\n")
        tool, program = helm("exit 1")
        found = find_chart(planned(chart="./mine"), tool)
        assert (found.path, found.version) == (tmp_path / "mine/jupyterhub", "0.0.1")
        assert program.calls == []


class TestRelease:
    def test_what_wins(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("")
        plan = planned(values="mine.yaml")
        releases.write_run_values(plan, STUDENT, {"jupyterhub": "s3cret"})
        found = releases.release(plan, STUDENT)
        own, scaled, run = found.values
        assert own == tmp_path / "mine.yaml"
        assert yaml.safe_load(scaled.read_text())["scheduling"] == {"userScheduler": {"replicas": 1}}
        assert found.set_files == {chart.SPAWNER_KEY: plan.spawner}
        assert run.stat().st_mode & 0o777 == 0o600
        values = yaml.safe_load(run.read_text())
        assert values["hub"]["services"]["harness"]["apiToken"] == "s3cret"
        assert values["proxy"]["service"]["nodePorts"] == {"http": 30000}

    def test_authoring(self, planned: Planner) -> None:
        plan = planned()
        releases.write_run_values(plan, AUTHORING, SECRETS)
        found = releases.release(plan, AUTHORING)
        assert (found.name, found.namespace) == ("jupyterhub-authoring", "jupyter-authoring")
        assert found.values[0] == plan.checkout / "helm/values/authoring.yaml"
        values = yaml.safe_load(found.values[-1].read_text())
        assert values["proxy"]["service"]["nodePorts"] == {"http": 30001}
        assert values["hub"]["config"]["SharedPasswordAuthenticator"]["admin_password"]

    def test_nothing_is_replaced_without_a_checkout(self, planned: Planner) -> None:
        plan = planned()
        assert [dict(releases.release(plan, spec).replaced) for spec in (STUDENT, AUTHORING)] == [{}, {}]

    def test_values_of_a_checkout_have_their_spawner(self, planned: Planner, tmp_path: Path) -> None:
        """Students and authors may have different ones, so neither is given for both."""
        plan = planned(theirs=owners_checkout(tmp_path / "theirs"))
        assert [releases.release(plan, it).set_files for it in (STUDENT, SCALED, AUTHORING)] == [{}, {}, {}]
        (tmp_path / "mine.py").write_text("")
        mine = planned(theirs=owners_checkout(tmp_path / "theirs"), spawner="mine.py")
        assert releases.release(mine, STUDENT).set_files == {chart.SPAWNER_KEY: tmp_path / "mine.py"}


def test_a_release_is_computed_and_nothing_is_written(planned: Planner) -> None:
    plan = planned()
    for hub_spec in (STUDENT, AUTHORING):
        releases.release(plan, hub_spec)
    assert list(plan.state.iterdir()) == []


class TestSpawner:
    def test_without_courses_it_is_the_plans_and_nothing_is_written(self, planned: Planner) -> None:
        plan = planned()
        releases.write_spawner(plan)
        assert releases.spawner_file(plan) == plan.spawner
        assert list(plan.state.iterdir()) == []

    def test_with_courses_it_is_written_by_a_step_of_its_own(self, planned: Planner, checkout: Path) -> None:
        plan = check_out_courses(planned(course="new.1=checkout/courses/gpu_example"), checkout.parent)
        file = releases.spawner_file(plan)
        assert releases.production(plan, STUDENT).set_files == {chart.SPAWNER_KEY: file}
        assert not file.exists()
        releases.write_spawner(plan)
        assert "'new.1'" in file.read_text()


REFUSES = """cat >&2 <<'END'
Error: values don't meet the specifications of the schema(s) in the following chart(s):
jupyterhub:
- at '': validation failed
  - at '/hub': additional properties 'authenticatePrometheus', 'x' not allowed
  - at '': additional properties 'certmanager' not allowed{more}
END
exit 1"""
WRONG = "\n  - at '/hub/db/upgrade': got string, want boolean"


class TestTemplates:
    """Values that a chart's schema does not take."""

    @pytest.fixture
    def refused(self, planned: Planner, tmp_path: Path) -> Callable[..., str]:
        """Renders a release on a chart that refuses it; returns the message, seen to be of the expected kind."""

        def refused(origin: str, kind: type[HarnessError], more: str = "") -> str:
            helm = Helm(Program(tmp_path / "bin", "helm", REFUSES.format(more=more)).path)
            with pytest.raises(HarnessError) as error:
                releases.templates(
                    helm, chart.Chart(tmp_path, "1", origin), {STUDENT: releases.release(planned(), STUDENT)}
                )
            assert isinstance(error.value, EnvironmentFault) is (kind is EnvironmentFault), str(error.value)
            return str(error.value)

        return refused

    @pytest.mark.parametrize("origin", ["the built-in chart", "the built-in chart, because x cannot be reached"])
    def test_a_key_that_the_built_in_chart_does_not_know_is_its_limit(
        self, refused: Callable[..., str], origin: str
    ) -> None:
        assert refused(origin, EnvironmentFault) == (
            "The built-in chart does not know certmanager and hub.authenticatePrometheus and hub.x, which the values "
            "set: that is its limit, and no verdict about the deployment. "
            "Run on the real chart: --chart pinned, or --chart VERSION or PATH."
        )

    @pytest.mark.parametrize("origin", ["chart repository", "a checkout"])
    def test_a_key_that_the_real_chart_does_not_know_is_the_deployments_fault(
        self, refused: Callable[..., str], origin: str
    ) -> None:
        message = refused(origin, HarnessError)
        assert message.startswith("rendering jupyterhub: values rejected: at '/hub': additional properties 'auth")

    def test_a_value_of_another_type_is_the_deployments_fault_on_any_chart(self, refused: Callable[..., str]) -> None:
        assert "got string, want boolean" in refused("the built-in chart", HarnessError, WRONG)

    def test_the_built_in_chart_by_its_path_is_the_built_in_chart(self, planned: Planner) -> None:
        plan = planned(chart="checkout/helm/jupyterhub")
        assert find_chart(plan, Helm(Path("helm"))).origin == "the built-in chart"


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    data = {"values.yaml": base64.b64encode(yaml.safe_dump(values).encode()).decode()}
    return [{"kind": "Service"}, {"kind": "Secret", "metadata": {"name": "hub"}, "data": data}]


DATABASE = Postgres("jh-1", Path(), "pass")
REF = {"valueFrom": {"secretKeyRef": {"name": "creds", "key": "url"}}}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "creds"},
    "stringData": {"url": "postgresql://jupyterhub:pass@jh-1-postgres:5432/jupyterhub"},
}
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "student"}}


class TestPrerequisites:
    @pytest.mark.parametrize(
        ("values", "made"),
        [
            ({"hub": {"extraEnv": {"DATABASE_URL": REF}}}, [SECRET]),
            ({"hub": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "DATABASE_URL", **REF}]}}, [SECRET]),
            ({"hub": {"extraEnv": {"DATABASE_URL": "postgresql://elsewhere"}}}, []),
            ({"hub": {"extraEnv": None}, "singleuser": {"serviceAccountName": None}}, []),
            ({"singleuser": {"serviceAccountName": "student"}}, [ACCOUNT]),
            ({}, []),
        ],
    )
    def test_named_as_the_values_name_them(self, values: dict[str, Any], made: list[dict[str, Any]]) -> None:
        assert prerequisites(rendered(values), STUDENT, DATABASE) == made

    def test_each_hub_has_its_own_database(self) -> None:
        objects = rendered({"hub": {"extraEnv": {"DATABASE_URL": REF}}})
        [secret] = prerequisites(objects, AUTHORING, DATABASE)
        assert secret["stringData"]["url"].endswith("/jupyterhub_authoring")

    def test_stand_ins_for_secrets_of_which_the_name_is_known(self) -> None:
        """Each text that a variable takes is there, but in Secrets of the release, which has its own."""

        def of(name: str, key: str) -> dict[str, Any]:
            return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}

        env = {"DATABASE_URL": REF, "JUPYTERHUB_CRYPT_KEY": of("creds", "crypt"), "OWN": of("hub", "values.yaml")}
        values = {
            "hub": {"extraEnv": env},
            "proxy": {"chp": {"extraEnv": [{"name": "PASS", **of("proxy-pass", "text")}]}},
            "singleuser": {"extraEnv": {"SURVEY": of("survey", "url")}},
        }
        made = {
            each["metadata"]["name"]: each["stringData"] for each in prerequisites(rendered(values), STUDENT, DATABASE)
        }
        assert {name: set(texts) for name, texts in made.items()} == {
            "creds": {"url", "crypt"},
            "proxy-pass": {"text"},
            "survey": {"url"},
        }
        assert made["creds"]["url"].startswith("postgresql://")
        assert len(bytes.fromhex(made["creds"]["crypt"])) == 32
