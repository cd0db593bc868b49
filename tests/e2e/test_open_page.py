"""An open page: its kernel keeps what it knows and its notebook is saved for as long as the server lives.

Hours go by in a real page, on the hub whose times are divided: those of its culler, of its servers and of its logins.
"""

from __future__ import annotations

import pytest

from harness.scenarios.culling import CulledServers
from harness.scenarios.scaled_hub import FACTOR

LOGIN_IS_OVER = (
    "its login is over; see JupyterHub.oauth_token_expires_in, cookie_max_age_days, and expires_days of "
    "tornado_settings.cookie_options"
)


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
    return f"after {age:.0f} s ({age * FACTOR / 3600:.1f} hours of production)"
