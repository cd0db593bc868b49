"""The hub's API, as an operator uses it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.base.wait import NeverError, TooLateError
from tests.unit.fakes import hub_of, hub_that_answers


@pytest.mark.parametrize("statuses", [(204,), (404,), (500, 404), (400, 503, 204)], ids=str)
def test_delete_user(statuses: tuple[int, ...]) -> None:
    """A user goes once, whoever else deletes it, and whatever its server is doing."""
    asked: list[str] = []
    hub_of(map(httpx.Response, statuses), asked).delete_user("1")
    assert asked == ["DELETE /hub/api/users/1"] * len(statuses)


def test_stop_server() -> None:
    asked: list[str] = []
    stopping, stopped = ({"servers": servers} for servers in ({"": {"pending": "stop"}}, {}))
    answers = [httpx.Response(202), httpx.Response(200, json=stopping), httpx.Response(200, json=stopped)]
    hub_of(answers, asked).stop_server("1")
    assert asked == ["DELETE /hub/api/users/1/server", "GET /hub/api/users/1", "GET /hub/api/users/1"]


def test_stuck_user_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hub.api.DELETE_TIMEOUT", 0.0)
    with pytest.raises(TooLateError, match=r"the end of user 1: not there after 0 s\. Last seen: 500 broken"):
        hub_of([httpx.Response(500, text="broken")], []).delete_user("1")


def test_a_hub_that_will_never_do_it_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hub.api.seldom", lambda look: look)
    with pytest.raises(NeverError, match=r"the end of user 1: will not come, seen after .*: CrashLoopBackOff"):
        hub_of([httpx.Response(503)], []).delete_user("1", fail_if=lambda: "CrashLoopBackOff")


def test_restart_of_the_hub_is_waited_out() -> None:
    asked: list[str] = []
    hub_of([httpx.ConnectError("refused"), httpx.Response(204)], asked).delete_user("1")
    assert len(asked) == 2


def test_routes_are_asked_for_while_the_proxy_is_away() -> None:
    asked: list[str] = []
    hub = hub_of([httpx.ConnectError("refused"), httpx.Response(200, json={})], asked)
    for _ in range(2):
        hub.restore_routes()
    assert asked == ["POST /hub/api/proxy"] * 2


PEOPLE: list[dict[str, Any]] = [{"name": name, "servers": {}} for name in ("ada", "bo", "cy", "di", "ed")]


def paged(request: httpx.Request) -> httpx.Response:
    """What a hub with a limit of two users a page answers (jupyterhub, apihandlers/base.py, paginated_model)."""
    offset = int(request.url.params.get("offset", 0))
    if "application/jupyterhub-pagination+json" not in request.headers["Accept"]:
        return httpx.Response(200, json=PEOPLE[offset : offset + 2])
    following = {"offset": offset + 2, "limit": 2, "url": f"http://10.0.0.1:8081{request.url.path}?offset={offset + 2}"}
    about = {"offset": offset, "limit": 2, "total": 5, "next": following if offset + 2 < 5 else None}
    return httpx.Response(200, json={"items": PEOPLE[offset : offset + 2], "_pagination": about})


def test_users_of_all_pages() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return paged(request)

    hub = hub_that_answers(answer)
    assert sorted(hub.users()) == ["ada", "bo", "cy", "di", "ed"]
    places = [f"http://hub/hub/api/users?{page}" for page in ("offset=0", "offset=2&limit=2", "offset=4&limit=2")]
    assert asked == places, "the pages are asked for where the hub is reached, not where it sees itself"


@pytest.mark.parametrize("do", ["delete_user", "is_settled", "stop_server", "cancel_spawn"])
def test_a_user_without_a_name_is_never_asked_for(do: str) -> None:
    asked: list[str] = []
    with pytest.raises(HarnessError, match=r"\ANo user to ask the hub about: the journey named none\."):
        getattr(hub_of([], asked), do)("")
    assert not asked
