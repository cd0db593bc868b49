"""The hub's API, as an operator uses it."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.wait import NeverError, TooLateError
from harness.hub.api import Hub
from harness.scenarios.user_cleanup import UserCleanup


def server(pending: str | None) -> httpx.Response:
    """What the hub says of a user with a server."""
    return httpx.Response(200, json={"servers": {"": {"pending": pending}}})


STARTED, STARTING, FOUND_BY_A_NEW_HUB = server(None), server("spawn"), server("check")
AWAY = httpx.Response(503, text="<title>503</title>")
NO_CLUSTER: Any = None


def hub(answers: Iterable[httpx.Response | httpx.HTTPError], asked: list[str]) -> Hub:
    rest = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        found = next(rest)
        if isinstance(found, httpx.HTTPError):
            raise found
        return found

    found = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
    client = httpx.Client(base_url="http://hub/hub/api", transport=httpx.MockTransport(answer))
    vars(found)["api"] = client
    return found


@pytest.mark.parametrize("statuses", [(204,), (404,), (500, 404), (400, 503, 204)], ids=str)
def test_delete_user(statuses: tuple[int, ...]) -> None:
    """A user goes once, whoever else deletes it, and whatever its server is doing."""
    asked: list[str] = []
    hub(map(httpx.Response, statuses), asked).delete_user("1")
    assert asked == ["DELETE /hub/api/users/1"] * len(statuses)


def test_stop_server() -> None:
    asked: list[str] = []
    stopping, stopped = ([{"name": "1", "servers": servers}] for servers in ({"": {"pending": "stop"}}, {}))
    answers = [httpx.Response(202), httpx.Response(200, json=stopping), httpx.Response(200, json=stopped)]
    hub(answers, asked).stop_server("1")
    assert asked == ["DELETE /hub/api/users/1/server", "GET /hub/api/users", "GET /hub/api/users"]


def test_stuck_user_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
    with pytest.raises(TooLateError, match=r"the end of user 1: not there after 0 s\. Last seen: 500 broken"):
        hub([httpx.Response(500, text="broken")], []).delete_user("1")


def test_a_hub_that_will_never_do_it_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hub.api.seldom", lambda look: look)
    with pytest.raises(NeverError, match=r"the end of user 1: will not come, seen after .*: CrashLoopBackOff"):
        hub([httpx.Response(503)], []).delete_user("1", fail_if=lambda: "CrashLoopBackOff")


def test_restart_of_the_hub_is_waited_out() -> None:
    asked: list[str] = []
    hub([httpx.ConnectError("refused"), httpx.Response(204)], asked).delete_user("1")
    assert len(asked) == 2


class TestDepartures:
    def test_everybody_is_gone_in_the_end(self) -> None:
        asked: list[str] = []
        leaving = UserCleanup(NO_CLUSTER)
        for user in "123":
            leaving.add(hub([STARTED, httpx.Response(204)], asked), user)
        leaving.wait()
        leaving.close()
        assert sorted(asked) == [f"{verb} /hub/api/users/{user}" for verb in ("DELETE", "GET") for user in "123"]

    def test_a_proxy_that_is_away_for_a_moment(self) -> None:
        asked: list[str] = []
        leaving = UserCleanup(NO_CLUSTER)
        leaving.add(hub([httpx.RemoteProtocolError("disconnected"), STARTED, httpx.Response(204)], asked), "1")
        leaving.wait()
        leaving.close()
        assert asked == [f"{verb} /hub/api/users/1" for verb in ("GET", "GET", "DELETE")]

    @pytest.mark.parametrize("before", [STARTING, FOUND_BY_A_NEW_HUB, AWAY], ids=["starts", "is looked for", "no hub"])
    def test_a_server_that_may_be_on_its_way_is_waited_for(self, before: httpx.Response) -> None:
        asked: list[str] = []
        cluster: Any = SimpleNamespace(pods=lambda _: SimpleNamespace(look=list, why_stuck=lambda _: None))
        leaving = UserCleanup(cluster)
        leaving.add(hub([before, STARTED, httpx.Response(204)], asked), "1")
        leaving.wait()
        leaving.close()
        expected = [f"{verb} /hub/api/users/1" for verb in ("GET", "GET", "DELETE")]
        assert asked == expected, f"the user was deleted before anybody knew of the server: {asked}"

    @pytest.mark.parametrize("state", [STARTING, FOUND_BY_A_NEW_HUB], ids=["starts", "is looked for"])
    def test_a_server_that_never_comes_does_not_hold_its_user(
        self, monkeypatch: pytest.MonkeyPatch, state: httpx.Response
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr("harness.scenarios.user_cleanup.START_TIMEOUT", 0.0)
        monkeypatch.setattr(
            "harness.scenarios.user_cleanup.restart_hub", lambda _, hub: asked.append(f"restart {hub.namespace}")
        )
        cluster: Any = SimpleNamespace(remove_server=lambda namespace, user: asked.append(f"{namespace} {user}"))
        leaving = UserCleanup(cluster)
        leaving.add(hub([state, httpx.Response(204)], asked), "1")
        leaving.wait()
        leaving.close()
        assert asked == ["GET /hub/api/users/1", "jupyter 1", "restart jupyter", "DELETE /hub/api/users/1"]

    def test_who_is_not_gone_at_the_end_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.scenarios.user_cleanup.START_TIMEOUT", 0.0)
        monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
        cluster: Any = SimpleNamespace(remove_server=lambda namespace, user: None)
        leaving = UserCleanup(cluster)
        leaving.add(hub([STARTED, httpx.Response(204)], []), "gone")
        leaving.add(hub([STARTED, httpx.Response(500, text="broken")], []), "refused")
        leaving.add(hub([STARTING], []), "held")
        leaving._pool.shutdown(wait=True)
        assert sorted(user for _, user in leaving.close()) == ["held", "refused"]

    def test_nobody_goes_where_nothing_answers_any_more(self) -> None:
        leaving = UserCleanup(NO_CLUSTER)
        leaving.give_up()
        asked: list[str] = []
        leaving.add(hub([], asked), "1")
        assert [user for _, user in leaving.close()] == ["1"]
        assert not asked

    def test_who_does_not_go_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
        leaving = UserCleanup(NO_CLUSTER)
        leaving.add(hub([STARTED, httpx.Response(500, text="broken")], []), "1")
        with pytest.raises(TooLateError, match="the end of user 1"):
            leaving.wait()
        leaving.close()
