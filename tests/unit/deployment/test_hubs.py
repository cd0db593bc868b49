"""The steps that bring up the hubs: installed where something changed, and without users of an earlier run."""

from __future__ import annotations

import dataclasses
import io
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.wait import NeverError, NotYet, wait_until
from harness.charts.chart import Release
from harness.deployment import hubs
from harness.deployment.hubs import install_release, remove_renamed, remove_users, wait_for_hub
from harness.hub.api import Hub
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.plan import Plan
from tests.unit import fakes
from tests.unit.deployment.doubles import NEW, FakeCluster, context_of, crashing, rolled, running_copy, users_page
from tests.unit.fakes import hub_that_answers

Planner = Callable[..., Plan]


class FakeHelm:
    """Helm that counts upgrades, and fails where it is told to."""

    def __init__(self, error: str = "") -> None:
        self.upgrades = 0
        self.error = error

    def upgrade_install(self, *_: object) -> None:
        self.upgrades += 1
        if self.error:
            raise HarnessError(self.error)


class RenamingHelm(FakeHelm):
    """Helm that remembers what it removed."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: list[str] = []

    def uninstall(self, release: Release) -> None:
        self.removed.append(f"{release.name} in {release.namespace}")


class TestRenamed:
    """A release that a kept copy has under another name."""

    @pytest.fixture
    def plan(self, planned: Planner, tmp_path: Path) -> Plan:
        """The plan of a run on a copy that has the students' hub under its name of today."""
        theirs = fakes.owners_checkout(tmp_path / "theirs")
        renamed = dataclasses.replace(STUDENT, release="hub", namespace="learners", database="learners")
        return planned(theirs=dataclasses.replace(theirs, hubs=(renamed, AUTHORING)))

    def test_the_old_one_goes_and_the_new_one_is_installed(self, plan: Plan, steps: Steps, out: io.StringIO) -> None:
        ours = dataclasses.replace(plan, ol_infrastructure=None)
        install_release(context_of(ours, steps), running_copy(ours, helm=FakeHelm()), STUDENT)
        helm, spec = RenamingHelm(), plan.hub(STUDENT)
        release = Release(spec.release, spec.namespace, ())
        running = running_copy(plan, helm=helm, releases={spec: release}, objects={spec: []})
        remove_renamed(context_of(plan, steps, running.cluster), running)
        install_release(context_of(plan, steps), running, spec)
        assert helm.removed == ["jupyterhub in jupyter"]
        assert running.cluster.done == [
            "delete namespace jupyter --ignore-not-found",
            "apply in learners",
            "remove what runs in learners",
        ]
        assert helm.upgrades == 1
        line = "release jupyterhub jupyter jupyterhub goes, hub learners learners comes in its place"
        assert line in " ".join(out.getvalue().split())

    def test_one_of_the_same_name_stays(self, plan: Plan, steps: Steps) -> None:
        helm, spec = RenamingHelm(), plan.hub(STUDENT)
        releases = {spec: Release(spec.release, spec.namespace, ())}
        running = running_copy(plan, helm=helm, releases=releases, objects={spec: []})
        for _ in range(2):
            remove_renamed(context_of(plan, steps, running.cluster), running)
            install_release(context_of(plan, steps), running, spec)
        assert not helm.removed
        assert helm.upgrades == 1


class TestInstallRelease:
    def test_an_upgrade_that_failed_is_not_taken_for_what_was_there_before(
        self, planned: Planner, steps: Steps, out: io.StringIO
    ) -> None:
        """A good spawner, a broken one, and the good one again: the third run has something to do."""
        plan = planned()
        context = context_of(plan, steps)
        context.state.set(STUDENT.release, "the good one")
        with pytest.raises(HarnessError, match="crashes"):
            install_release(context, running_copy(plan, helm=FakeHelm("the hub crashes")), STUDENT)
        assert context_of(plan, steps).state.get(STUDENT.release) is None
        assert "release jupyterhub is upgraded, what it is made of has changed\n" in out.getvalue()

    def test_a_release_that_is_what_it_was_is_left_alone(self, planned: Planner, steps: Steps) -> None:
        plan, helm = planned(), FakeHelm()
        cluster = FakeCluster(rolled(ready=0), rolled())
        running = running_copy(plan, cluster, helm=helm)
        for _ in range(2):
            install_release(context_of(plan, steps), running, STUDENT)
        assert helm.upgrades == 1
        assert cluster.changes == 1, "its pods were waited for"

    def test_a_kept_release_that_does_not_come_up_is_installed_anew(
        self, planned: Planner, steps: Steps, out: io.StringIO
    ) -> None:
        """As one of a cluster that was stopped, whose hub crashed for want of its database."""
        plan, cluster = planned(), FakeCluster()
        running = running_copy(plan, cluster, helm=FakeHelm())
        install_release(context_of(plan, steps), running, STUDENT)
        cluster.rollouts, cluster.found = [rolled(ready=0)], [crashing("hub", NEW)]

        class MendingHelm(FakeHelm):
            def upgrade_install(self, *_: object) -> None:
                cluster.rollouts, cluster.found = [rolled()], []

        install_release(context_of(plan, steps), running_copy(plan, cluster, helm=MendingHelm()), STUDENT)
        assert "kept:      release jupyterhub is installed anew: the pods of jupyter: will not come" in out.getvalue()
        assert cluster.done[-1] == "remove what runs in jupyter", "none of its pods is in a known state"
        assert context_of(plan, steps).state.get(STUDENT.name)

    def test_prerequisites_are_applied_once_and_before_the_release(self, planned: Planner, steps: Steps) -> None:
        plan, cluster = planned(), FakeCluster()
        failing, working = (running_copy(plan, cluster, helm=FakeHelm(error)) for error in ("no", ""))
        with pytest.raises(HarnessError, match="no"):
            install_release(context_of(plan, steps), failing, STUDENT)
        assert cluster.done == ["apply in jupyter", "remove what runs in jupyter"]
        install_release(context_of(plan, steps), working, STUDENT)
        assert cluster.done == ["apply in jupyter", *["remove what runs in jupyter"] * 2]


def test_the_hub_that_answers_is_named_with_its_address(planned: Planner, steps: Steps, out: io.StringIO) -> None:
    hub = hub_that_answers(lambda _: httpx.Response(200, json={"version": "5.5.0"}))
    assert wait_for_hub(context_of(planned(), steps, FakeCluster()), hub) == "5.5.0"
    assert out.getvalue() == "jupyterhub:           http://hub  (JupyterHub 5.5.0)\n"


class TestRemoveUsers:
    """A kept hub starts without the users of an earlier run."""

    @pytest.fixture
    def asked(self) -> list[str]:
        """The calls of the hub's API."""
        return []

    @pytest.fixture
    def hub(self, asked: list[str]) -> Callable[..., Hub]:
        """A hub with users; it would delete none whose server is on its way, until it is restarted."""

        def hub(cluster: FakeCluster, **users: Any) -> Hub:
            models = [{"name": name, "admin": name == "admin", "servers": servers} for name, servers in users.items()]

            def answer(request: httpx.Request) -> httpx.Response:
                asked.append(f"{request.method} {request.url.path.removeprefix('/hub/api')}")
                if request.method == "GET":
                    listed = request.url.path.endswith("/users")
                    return httpx.Response(200, json=users_page(models) if listed else {"version": "5.5.0"})
                name = request.url.path.rpartition("/")[2]
                starting = users[name].get("", {}).get("pending") in ("spawn", "check")
                gone = not starting or "restart jupyter hub" in cluster.done
                assert gone, f"{name} is to be deleted while the hub waits for the server of {name}"
                return httpx.Response(204)

            return hub_that_answers(answer)

        return hub

    @pytest.mark.parametrize("users", [{}, {"admin": {}}], ids=["none", "the admin that the hub makes itself"])
    def test_a_hub_without_users_costs_one_call(
        self,
        planned: Planner,
        steps: Steps,
        out: io.StringIO,
        asked: list[str],
        hub: Callable[..., Hub],
        users: dict[str, Any],
    ) -> None:
        cluster = FakeCluster()
        remove_users(context_of(planned(), steps, cluster), hub(cluster, **users))
        assert asked == ["GET /users"]
        assert (cluster.done, out.getvalue()) == ([], "")

    def test_users_go_with_their_servers_and_without(
        self, planned: Planner, steps: Steps, out: io.StringIO, asked: list[str], hub: Callable[..., Hub]
    ) -> None:
        cluster = FakeCluster()
        there = hub(cluster, admin={"": {"pending": None}}, idle={}, leaving={"": {"pending": "stop"}})
        remove_users(context_of(planned(), steps, cluster), there)
        assert asked[0] == "GET /users"
        assert sorted(asked[1:]) == ["DELETE /users/admin", "DELETE /users/idle", "DELETE /users/leaving"]
        assert cluster.done == [], "no hub is restarted that lets them go"
        assert re.search(r"users on jupyterhub: 3 left by an earlier run removed, 0 with", out.getvalue())

    @pytest.mark.parametrize("pending", ["spawn", "check"])
    def test_a_user_whose_server_is_still_starting_goes_too(
        self, planned: Planner, steps: Steps, asked: list[str], hub: Callable[..., Hub], pending: str
    ) -> None:
        cluster = FakeCluster()
        there = hub(cluster, admin={"": {"pending": pending}}, other={"": {"pending": None}})
        remove_users(context_of(planned(), steps, cluster), there)
        assert cluster.done == ["remove the server of admin in jupyter", "restart jupyter hub"]
        assert sorted(asked) == ["DELETE /users/admin", "DELETE /users/other", "GET /", "GET /users"]

    def test_a_deletion_that_fails_ends_the_others(
        self, planned: Planner, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And so does Ctrl-C: nobody waits four minutes for each of them."""
        monkeypatch.setattr(hubs, "why_unrecoverable", lambda *_: None)
        waiting, ended = threading.Event(), threading.Event()
        errors: list[str] = []

        def delete_user(name: str, *, fail_if: Callable[[], str | None]) -> None:
            if name == "refused":
                assert waiting.wait(10)
                raise HarnessError("no")
            waiting.set()
            wait_until(name, lambda: NotYet("it is there"), timeout=10, fail_if=fail_if)

        def held(name: str, *, fail_if: Callable[[], str | None]) -> None:
            try:
                delete_user(name, fail_if=fail_if)
            except NeverError as error:
                errors.append(str(error))
                ended.set()
                raise

        users = {name: {"servers": {}, "admin": False} for name in ("refused", "held")}
        hub: Any = SimpleNamespace(release="r", namespace="n", users=lambda: users, delete_user=held)
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            remove_users(context_of(planned(), steps, FakeCluster()), hub)
        assert ended.wait(10)
        assert "the run is ending" in errors[0]
