"""The gate and Keycloak in trouble: a login that cannot be says so in words, and notebooks that are open go on."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from fixtures.sso import GatedHubs, NewLearner
from harness.faults.broken_login import keycloak_silent
from harness.gate.settings import PATIENCE
from harness.people.learner import Learner, at_login, login_form
from harness.plan.contract import SSO_HOST
from harness.plan.hubs import STUDENT
from harness.scenarios.sso_outage import Outage
from harness.services.clock import move

HOME = "/hub/home"
MINUTE = 60.0
WORDS = "cannot be reached at the moment"
"""Words of the page that the gate shows where it cannot lead on."""
TOKEN = 5 * MINUTE
"""Seconds for which an access token is good: Keycloak's default, which the owners leave as it is."""


def told(answer: httpx.Response) -> str:
    """Return the words of a page, for a message."""
    return f"{answer.status_code} {' '.join(re.sub(r'<[^>]+>', ' ', answer.text).split())[:200]}"


class TestKeycloakGone:
    def test_link_leads_to_the_login_still(self, keycloak_outage: Outage) -> None:
        """While Keycloak is gone, a link of a person without a session leads to its address, and to no hub."""
        assert at_login(keycloak_outage.link), f"expected the way to {SSO_HOST}, found {told(keycloak_outage.link)}"

    def test_interrupted_login_is_told_in_words(self, keycloak_outage: Outage) -> None:
        """A login that Keycloak's end interrupts ends at a page that says so, and that it can be tried again."""
        found = told(keycloak_outage.callback)
        assert WORDS in found, f"the callback of an interrupted login: {found}, expected the words {WORDS!r}"

    def test_gate_that_starts_meanwhile_says_so(self, keycloak_outage: Outage) -> None:
        """A gate that starts while Keycloak is gone answers a link with 500 and words, and is not open."""
        answer = keycloak_outage.link_at_new_gate
        assert (answer.status_code, WORDS in answer.text) == (500, True), f"a link at the new gate: {told(answer)}"

    def test_open_notebook_goes_on(self, keycloak_outage: Outage) -> None:
        """A notebook that is open while Keycloak is gone goes on: a cell gives its answer."""
        assert keycloak_outage.cell == "42", f"6 * 7 gave {keycloak_outage.cell!r} while Keycloak was gone"

    def test_sessions_go_on(self, keycloak_outage: Outage) -> None:
        """A session leads to the hub while Keycloak is gone, as long as its tokens are good, and when it is back."""
        for answer in (keycloak_outage.page, keycloak_outage.page_after):
            assert not at_login(answer), f"the session of a person at work has ended: {told(answer)}"

    def test_sessions_outlive_the_gate(self, keycloak_outage: Outage) -> None:
        """A gate that has just started, Keycloak still gone, knows the sessions that the one before it made."""
        answer = keycloak_outage.page_at_new_gate
        assert not at_login(answer), "a session from before the gate's start is none after it"
        assert answer.status_code < 500, f"a session from before the gate's start: {told(answer)}"

    def test_login_works_when_it_is_back(self, keycloak_outage: Outage) -> None:
        """The person whose login was interrupted gets in when Keycloak is back."""
        found = keycloak_outage.login_after.headers.get("location", "nowhere")
        assert found.endswith(HOME), f"the login after the outage led to {found}"


def test_silent_keycloak_stops_no_one_at_work(
    gated: GatedHubs, mirrored: Learner, learner_at_work: Learner, calendars: Callable[[float], None]
) -> None:
    """A Keycloak that answers nothing holds up a request whose token is over for a while, and no notebook."""
    with learner_at_work.server.kernel() as kernel, keycloak_silent(gated.keycloak):
        assert not at_login(mirrored.get(HOME)), "a session with good tokens asks for a login"
        calendars(2 * TOKEN)
        answer = mirrored.get(HOME, timeout=3 * PATIENCE)
        assert answer.is_redirect or WORDS in answer.text, f"a token that cannot be renewed: {told(answer)}"
        assert kernel.run("6 * 7").value == "42"
        calendars(0)
    again = mirrored.log_in(mirrored.go_to_login(HOME))
    assert again.headers.get("location", "").endswith(HOME), f"when it answers again, the link led to {told(again)}"


def test_rotated_keys_lock_no_one_out(gated: GatedHubs, learner: NewLearner) -> None:
    """When Keycloak signs with new keys, sessions go on and new logins succeed, without a new start of the gate."""
    before, after = learner("ada"), learner("grace")
    before.log_in(before.go_to_login(HOME))
    gated.keycloak.rotate_keys()
    assert not at_login(before.get(HOME)), "the session from before the new keys has ended"
    back = after.log_in(after.go_to_login(HOME))
    assert back.headers.get("location", "").endswith(HOME), f"a login after the new keys: {told(back)}"


def test_restarted_gate_keeps_sessions(gated: GatedHubs, learner: NewLearner) -> None:
    """Who is logged in stays so when the gate starts again."""
    person = learner()
    person.log_in(person.go_to_login(HOME))
    gated.gate.restart()
    answer = person.get(HOME)
    assert not at_login(answer), "the session from before the gate's start has ended"
    assert answer.status_code < 400, f"after the gate's start: {told(answer)}"


class TestSkew:
    @pytest.mark.parametrize("seconds", [-5 * MINUTE, 5 * MINUTE], ids=["gate is behind", "gate is ahead"])
    def test_sessions_survive_it(self, gated: GatedHubs, learner: NewLearner, seconds: float, together: None) -> None:
        """Five minutes between the clocks of the gate and Keycloak end no session."""
        person = learner()
        person.log_in(person.go_to_login(HOME))
        move(seconds, gated.gate.clock)
        answer = person.get(HOME)
        assert not at_login(answer), f"a session at a gate whose clock is {seconds:+.0f} s off: the login is asked for"

    def test_login_fails_in_words(self, gated: GatedHubs, learner: NewLearner, together: None) -> None:
        """A login at a gate five minutes behind succeeds if the route allows that, and else says so in words."""
        person, allowed = learner(), float(gated.routes[STUDENT].setting("iat_slack"))
        move(-5 * MINUTE, gated.gate.clock)
        answer = person.log_in(person.go_to_login(HOME))
        if allowed >= 5 * MINUTE:
            assert answer.headers.get("location", "").endswith(HOME), f"iat_slack {allowed:g} s: {told(answer)}"
        else:
            assert WORDS in answer.text, f"five minutes behind: {told(answer)}, expected the words {WORDS!r}"
        move(0, gated.gate.clock)
        assert not login_form(person.log_in(person.go_to_login(HOME))), "clocks agree, and the login asks again"
        assert not at_login(person.get(HOME)), "clocks agree, and the session is none"
