"""An expired certificate at the gate: clients and browsers of the run refuse it, and nothing ignores it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.sso import GatedHubs
from harness.faults.broken_login import certificate_expired, refusal
from harness.people.browser import Browser
from harness.people.link import EXAMPLE


@pytest.fixture
def expired(gated: GatedHubs) -> Iterator[None]:
    """A certificate of the gate's that expired yesterday."""
    with certificate_expired(gated.gate, gated.names):
        yield


@pytest.mark.usefixtures("expired")
def test_client_refuses_it(gated: GatedHubs) -> None:
    """A client ends with the reason, and sends nothing."""
    why = refusal(gated.names, gated.routes[next(iter(gated.routes))].hosts[0])
    assert "certificate has expired" in why, f"an expired certificate: {why or 'it is trusted'}"


@pytest.mark.usefixtures("expired")
def test_browser_shows_its_warning(gated: GatedHubs, gated_browser: Browser) -> None:
    """A browser shows its warning in the page's place."""
    gated_browser.driver.get(f"{gated.student.url}{EXAMPLE}")
    assert "ERR_CERT_DATE_INVALID" in gated_browser.driver.page_source, (
        "an expired certificate: no warning of Chromium's"
    )
