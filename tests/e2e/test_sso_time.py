"""The gate as days go by: its calendar and Keycloak's are moved, and no other clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.sso import GatedHubs, NewLearner
from harness.people.learner import Learner, at_login, login_form, words
from harness.services.clock import DAY, move

HOME = "/hub/home"
LATER = 10 * 60.0
"""Seconds after which an access token is over, which is good for five minutes."""


@pytest.mark.parametrize("days", [1 / 24, 13], ids=["an hour", "13 days"])
def test_session_lasts_while_no_one_uses_it(
    learner: NewLearner, calendars: Callable[[float], None], days: float, request: pytest.FixtureRequest
) -> None:
    """A learner who comes back after an hour, or after 13 days, is in without a login."""
    person, long = learner(), request.node.callspec.id
    person.log_in(person.go_to_login(HOME))
    calendars(days * DAY)
    answer = person.get(HOME)
    assert not at_login(answer), f"after {long}: expected the hub, found the login"
    assert answer.status_code < 400, f"after {long}: expected the hub, found {answer.status_code}"


def test_login_is_asked_for_after_14_days(learner: NewLearner, calendars: Callable[[float], None]) -> None:
    """After 14 days the gate and Keycloak ask for the password again, and lead on to the link."""
    person = learner()
    person.log_in(person.go_to_login(HOME))
    calendars(14 * DAY + LATER)
    answer = person.get(HOME)
    assert at_login(answer), f"after 14 days: expected the way to the login, found {answer.status_code}"
    form = person.follow(answer)
    assert login_form(form), f"after 14 days: expected the login form, found {form.status_code} {words(form)}"
    assert person.log_in(form).headers.get("location", "").endswith(HOME)


def test_gate_ends_a_session_by_itself(gated: GatedHubs, learner: NewLearner, together: None) -> None:
    """After 14 days the gate asks for a login though Keycloak, in whose calendar no day went by, renews the tokens."""
    person = learner()
    person.log_in(person.go_to_login(HOME))
    for days in (6, 12):
        move(days * DAY, gated.gate.clock)
        assert not at_login(person.get(HOME)), f"a session in use has ended after {days} days"
    move(14 * DAY + LATER, gated.gate.clock)
    assert at_login(person.get(HOME)), "the gate has no end of its own: a session in use is good for more than 14 days"


def test_token_is_renewed(mirrored: Learner, calendars: Callable[[float], None]) -> None:
    """An access token that is over is renewed without a login: what arrives behind the gate is a new one."""
    before = mirrored.get("/any").headers["seen-x-access-token"]
    calendars(LATER)
    answer = mirrored.get("/any")
    assert not at_login(answer), "ten minutes later the login is asked for"
    assert answer.headers["seen-x-access-token"] != before, "the access token that is over arrives still"


def test_notebook_survives_the_renewal(learner_at_work: Learner, calendars: Callable[[float], None]) -> None:
    """A running notebook computes and saves on when its tokens are renewed, over the WebSocket that it has."""
    with learner_at_work.server.kernel() as kernel:
        kernel.run("kept = 6 * 7")
        calendars(LATER)
        assert kernel.run("kept").value == "42", "the kernel does not answer after the renewal"
        learner_at_work.server.write("saved.txt", "later")
        assert kernel.run("open('saved.txt').read()").value == "'later'"


def test_websocket_outlives_the_session(learner_at_work: Learner, calendars: Callable[[float], None]) -> None:
    """A WebSocket that is open stays so past the end of the session: a long computation gives its answer."""
    with learner_at_work.server.kernel() as kernel:
        kernel.run("kept = 6 * 7")
        calendars(15 * DAY)
        assert kernel.run("kept").value == "42", "the kernel does not answer past the end of the session"
        calendars(0)
