"""The deletion of users who are no longer needed, though their servers never come."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.wait import TooLateError
from harness.scenarios import user_cleanup
from harness.scenarios.user_cleanup import UserCleanup
from tests.unit.fakes import hub_of


def server(pending: str | None) -> httpx.Response:
    """What the hub says of a user with a server."""
    return httpx.Response(200, json={"servers": {"": {"pending": pending}}})


STARTED, STARTING, FOUND_BY_A_NEW_HUB = server(None), server("spawn"), server("check")
AWAY = httpx.Response(503, text="<title>503</title>")


class FakeCluster:
    """A cluster in which the servers of users are stuck for a reason, or may still come; no pod is ever removed."""

    def __init__(self, stuck: str | None = None, asked: list[str] | None = None) -> None:
        self._stuck, self._asked = stuck, [] if asked is None else asked

    def pods(self, namespace: str) -> Any:
        return SimpleNamespace(server_probe=lambda user: lambda: self._stuck)

    def remove_server(self, namespace: str, user: str) -> None:
        self._asked.append(f"remove the pod of {user} in {namespace}")


NO_IMAGE = "pod jupyter-1: container notebook: ImagePullBackOff"
USER, SERVER = "/hub/api/users/1", "/hub/api/users/1/server"


def cleanup(stuck: str | None = None, asked: list[str] | None = None) -> UserCleanup:
    cluster: Any = FakeCluster(stuck, asked)
    return UserCleanup(cluster)


@pytest.fixture(autouse=True)
def all_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hub and proxy run, as far as Kubernetes and Docker know."""
    monkeypatch.setattr(user_cleanup, "why_unrecoverable", lambda cluster, namespace: None)


def test_all_are_gone_in_the_end() -> None:
    asked: list[str] = []
    leaving = cleanup()
    for user in "123":
        leaving.add(hub_of([STARTED, httpx.Response(204)], asked), user)
    leaving.wait()
    leaving.close()
    assert sorted(asked) == [f"{verb} /hub/api/users/{user}" for verb in ("DELETE", "GET") for user in "123"]


def test_a_deletion_that_has_begun_is_over_before_the_next_user_of_that_name() -> None:
    """It would delete that one too."""
    asked: list[str] = []
    leaving, ending = cleanup(), httpx.Response(400, json={"message": "1's server is in the process of stopping"})
    hub = hub_of([STARTED, ending, httpx.Response(204), httpx.Response(404), httpx.Response(404)], asked)
    leaving.add(hub, "1")
    leaving.delete(hub, "1")
    assert asked == [f"{verb} {USER}" for verb in ("GET", "DELETE", "DELETE", "GET", "DELETE")]
    leaving.close()


def test_a_proxy_that_is_away_for_a_moment() -> None:
    asked: list[str] = []
    leaving = cleanup()
    leaving.add(hub_of([httpx.RemoteProtocolError("disconnected"), STARTED, httpx.Response(204)], asked), "1")
    leaving.wait()
    leaving.close()
    assert asked == [f"{verb} {USER}" for verb in ("GET", "GET", "DELETE")]


@pytest.mark.parametrize("before", [STARTING, FOUND_BY_A_NEW_HUB, AWAY], ids=["starts", "is looked for", "no hub"])
def test_a_server_that_may_be_on_its_way_is_waited_for(before: httpx.Response) -> None:
    asked: list[str] = []
    leaving = cleanup()
    leaving.add(hub_of([before, STARTED, httpx.Response(204)], asked), "1")
    leaving.wait()
    leaving.close()
    expected = [f"{verb} {USER}" for verb in ("GET", "GET", "DELETE")]
    assert asked == expected, f"the user was deleted before anything was known of the server: {asked}"


class TestServerThatNeverComes:
    """The hub deletes no user whose server is on its way."""

    @pytest.fixture(autouse=True)
    def restarts(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Hubs that were restarted."""
        found: list[str] = []
        monkeypatch.setattr(user_cleanup, "restart_hub", lambda _, hub: found.append(hub.namespace))
        return found

    def test_the_hub_gives_up_on_it(self, monkeypatch: pytest.MonkeyPatch, restarts: list[str]) -> None:
        monkeypatch.setattr(user_cleanup, "seldom", lambda look, every: look)
        asked: list[str] = []
        started = time.monotonic()
        cleanup(NO_IMAGE, asked).delete(hub_of([STARTING, httpx.Response(202), httpx.Response(204)], asked), "1")
        assert time.monotonic() - started < 5, "a server that Kubernetes says will never come was waited for"
        assert asked == [f"GET {USER}", "remove the pod of 1 in jupyter", f"DELETE {SERVER}", f"DELETE {USER}"]
        assert not restarts

    @pytest.mark.parametrize("state", [STARTING, FOUND_BY_A_NEW_HUB], ids=["starts", "is looked for"])
    def test_in_the_background_too(
        self, monkeypatch: pytest.MonkeyPatch, restarts: list[str], state: httpx.Response
    ) -> None:
        monkeypatch.setattr(user_cleanup, "START_TIMEOUT", 0.0)
        asked: list[str] = []
        leaving = cleanup(asked=asked)
        leaving.add(hub_of([state, httpx.Response(202), httpx.Response(204)], asked), "1")
        leaving.wait()
        leaving.close()
        assert asked == [f"GET {USER}", "remove the pod of 1 in jupyter", f"DELETE {SERVER}", f"DELETE {USER}"]
        assert not restarts

    @pytest.mark.parametrize("background", [True, False])
    def test_a_hub_that_holds_on_to_it_is_restarted(
        self, monkeypatch: pytest.MonkeyPatch, restarts: list[str], background: bool
    ) -> None:
        monkeypatch.setattr(user_cleanup, "START_TIMEOUT", 0.0)
        monkeypatch.setattr(user_cleanup, "CANCEL_TIMEOUT", 0.0)
        asked: list[str] = []
        refuses = hub_of([STARTING, httpx.Response(500), httpx.Response(400), httpx.Response(204)], asked)
        leaving = cleanup(asked=asked)
        if background:
            leaving.add(refuses, "1")
            leaving.wait()
        else:
            leaving.delete(refuses, "1")
        leaving.close()
        assert restarts == ["jupyter"]
        assert asked[-2:] == [f"DELETE {USER}", f"DELETE {USER}"]

    def test_one_whom_a_hub_held_and_who_is_gone_is_not_deleted_again(
        self, monkeypatch: pytest.MonkeyPatch, restarts: list[str]
    ) -> None:
        """The next user of that name would be."""
        monkeypatch.setattr(user_cleanup, "START_TIMEOUT", 0.0)
        monkeypatch.setattr(user_cleanup, "CANCEL_TIMEOUT", 0.0)
        asked: list[str] = []
        held = [STARTING, httpx.Response(500), httpx.Response(400)]
        hub = hub_of([*held, STARTED, httpx.Response(204)], asked)
        leaving = cleanup(asked=asked)
        leaving.add(hub, "1")
        leaving.delete(hub, "1")
        leaving.wait()
        leaving.close()
        assert asked[-2:] == [f"GET {USER}", f"DELETE {USER}"]
        assert not restarts


def test_who_is_not_gone_at_the_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for timeout in ("START_TIMEOUT", "CANCEL_TIMEOUT"):
        monkeypatch.setattr(user_cleanup, timeout, 0.0)
    monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
    leaving = cleanup()
    leaving.add(hub_of([STARTED, httpx.Response(204)], []), "gone")
    leaving.add(hub_of([STARTED, httpx.Response(500, text="broken")], []), "refused")
    leaving.add(hub_of([STARTING, httpx.Response(500), httpx.Response(400)], []), "held")
    leaving._pool.shutdown(wait=True)
    assert sorted(user for _, user in leaving.close()) == ["held", "refused"]


def test_nothing_is_deleted_where_nothing_answers_any_more() -> None:
    leaving = cleanup()
    leaving.give_up()
    asked: list[str] = []
    leaving.add(hub_of([], asked), "1")
    assert [user for _, user in leaving.close()] == ["1"]
    assert not asked


def test_a_user_who_does_not_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
    leaving = cleanup()
    leaving.add(hub_of([STARTED, httpx.Response(500, text="broken")], []), "1")
    with pytest.raises(TooLateError, match="the end of user 1"):
        leaving.wait()
    leaving.close()
