"""An outage of Keycloak: what learners meet at the gate meanwhile and after it, observed once for several tests."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx

from harness.base.names import Names
from harness.faults.broken_login import keycloak_gone
from harness.gate.gate import Gate
from harness.people.learner import Learner, login_form

HOME = "/hub/home"


@dataclass(frozen=True)
class Outage:
    """Observations of an outage.

    Attributes:
        link: answer to a link of a person without a session.
        callback: answer to a person who had just sent the login form.
        cell: what a cell of a notebook gave that was open already.
        page: answer to the owner of that notebook, whose session lives.
        page_at_new_gate: the same, from a gate that has started during the outage.
        link_at_new_gate: answer of that gate to a link of a person without a session.
        login_after: answer to the login of the person, when Keycloak was back.
        page_after: answer to the notebook's owner then.
    """

    link: httpx.Response = field(repr=False)
    callback: httpx.Response = field(repr=False)
    cell: str
    page: httpx.Response = field(repr=False)
    page_at_new_gate: httpx.Response = field(repr=False)
    link_at_new_gate: httpx.Response = field(repr=False)
    login_after: httpx.Response = field(repr=False)
    page_after: httpx.Response = field(repr=False)


def go_through_outage(gate: Gate, names: Names, person: Learner, at_work: Learner) -> Outage:
    """Have Keycloak go away and come back, before the eyes of a person who logs in and of one with an open notebook."""
    form = person.go_to_login(HOME)
    callback = person.submit(form).headers.get("location", HOME) if login_form(form) else HOME
    with ExitStack() as notebook:
        kernel = notebook.enter_context(at_work.server.kernel())
        with keycloak_gone(gate, names):
            interrupted, link = person.get(callback), person.get(HOME)
            cell, page = kernel.run("6 * 7").value, at_work.get(HOME)
            notebook.close()
            gate.restart()
            at_new_gate = at_work.get(HOME), person.get(HOME)
    login = person.log_in(person.go_to_login(HOME))
    return Outage(link, interrupted, cell, page, *at_new_gate, login, at_work.get(HOME))
