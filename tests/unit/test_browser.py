"""The browser: that it went away is told from a page that is wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import InvalidSessionIdException, NoSuchElementException, WebDriverException
from urllib3.exceptions import ProtocolError

from harness import browser
from harness.browser import BrowserCrashedError


@pytest.fixture
def chrome(tmp_path: Path) -> Any:
    """A Chromium that was never started, and whose driver said something."""
    found = object.__new__(browser._Chrome)
    vars(found)["service"] = SimpleNamespace(env={"TMPDIR": str(tmp_path)})
    vars(found)["command_executor"] = SimpleNamespace(client_config=SimpleNamespace(timeout=None))
    (tmp_path / browser.LOG).write_text("[INFO]: one\n[INFO]: two\n[INFO]: three\n[INFO]: its last words\n")
    return found


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def execute(*_: object) -> None:
        raise error

    monkeypatch.setattr(webdriver.Chrome, "execute", execute)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidSessionIdException("session deleted as the browser has closed the connection"), "session deleted as"),
        (WebDriverException("tab crashed\n  (Session info: chrome=1)"), "tab crashed"),
        (WebDriverException("chrome not reachable"), "chrome not reachable"),
        (ProtocolError("Connection aborted."), "Connection aborted."),
        (ConnectionRefusedError(111, "Connection refused"), r"\[Errno 111\] Connection refused"),
    ],
)
def test_a_browser_that_went_away(chrome: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    failing(monkeypatch, error)
    message = rf"\AThe browser is gone, which says nothing about the page: {said}.*\nchromedriver said last:"
    with pytest.raises(BrowserCrashedError, match=message) as found:
        chrome.execute("getTitle")
    assert str(found.value).endswith("\n  | [INFO]: two\n  | [INFO]: three\n  | [INFO]: its last words")


def test_a_page_that_is_wrong(chrome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, NoSuchElementException("no such element"))
    with pytest.raises(NoSuchElementException):
        chrome.execute("findElement")


def test_every_command_has_a_limit(chrome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdriver.Chrome, "execute", lambda *_: {"value": "a title"})
    assert chrome.execute("getTitle") == {"value": "a title"}
    assert chrome.command_executor.client_config.timeout == browser.DRIVER_TIMEOUT
