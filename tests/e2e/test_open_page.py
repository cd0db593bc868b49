"""An open page: its kernel keeps what it knows and its notebook is saved for as long as the server lives.

Hours go by in a real page, on the hub whose times are divided: those of its culler, of its servers and of its logins.
What a running server is set to is read in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.people.link import EXAMPLE
from harness.people.server_settings import early_ends, read_settings
from harness.scenarios.ahead import Arrival
from harness.scenarios.culling import CulledServers
from harness.scenarios.scaled_hub import LIFE_FACTOR

LOGIN_IS_OVER = (
    "its login is over; see JupyterHub.oauth_token_expires_in, cookie_max_age_days, and expires_days of "
    "tornado_settings.cookie_options"
)


@pytest.mark.students(anybody=str(EXAMPLE))
def test_server_is_set_to_end_nothing_early(arrivals: Mapping[str, Arrival]) -> None:
    """A learner's server, by the settings in effect in it, ends neither an open page's kernel nor itself too early."""
    with arrivals["anybody"].arrived.server.kernel() as kernel:
        settings = read_settings(kernel)
    early = list(early_ends(settings))
    assert not early, "; ".join(early)


@pytest.mark.timeout(900)
def test_variables_stay(culled_servers: CulledServers) -> None:
    """A page whose student has run nothing for hours still has the variables of its first cell."""
    page = culled_servers.old_page
    assert not page.forgotten, (
        f"a variable is gone {when(page.age)}, expected for as long as the page: {page.forgotten}"
    )


@pytest.mark.timeout(900)
def test_saving_works_to_the_end(culled_servers: CulledServers) -> None:
    """A page that has been open for hours can still save its notebook."""
    page = culled_servers.old_page
    over = f" ({LOGIN_IS_OVER})" if page.unsaved.startswith("403") else ""
    assert not page.unsaved, f"a page cannot save its notebook {when(page.age)}: {page.unsaved}{over}"


def when(age: float) -> str:
    """The age of a page, at the scale and in production."""
    return f"after {age:.0f} s ({age * LIFE_FACTOR / 3600:.1f} hours of production)"
