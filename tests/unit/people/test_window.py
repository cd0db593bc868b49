"""What a browser's window tells of its pages, through a driver that is a list of log entries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.webdriver import WebDriver
from urllib3.exceptions import ProtocolError

from harness.base.timeline import Timeline
from harness.base.wait import TooLateError
from harness.people.browser import Browser, EarlyWindow

USER = "11111111-2222-4333-8444-555555555555"


class FakeDriver:
    def __init__(self, error: Exception | None = None) -> None:
        self.logs: dict[str, list[dict[str, Any]]] = {"performance": [], "browser": []}
        self.error = error

    def get_log(self, kind: str) -> list[dict[str, Any]]:
        """What is new since the last time, as chromedriver does."""
        if self.error:
            raise self.error
        found, self.logs[kind] = self.logs[kind], []
        return found

    def happens(self, seconds: float, method: str, **params: Any) -> None:
        message = json.dumps({"message": {"method": method, "params": params}, "webview": "1"})
        self.logs["performance"].append({"level": "INFO", "message": message, "timestamp": int(seconds * 1000)})

    def says(self, seconds: float, level: str, message: str) -> None:
        self.logs["browser"].append({"level": level, "message": message, "timestamp": int(seconds * 1000)})


def window(driver: FakeDriver) -> tuple[Browser, Timeline]:
    timeline = Timeline()
    return Browser(cast(WebDriver, driver), timeline=timeline), timeline


def test_pages_and_console_are_told_at_their_time_and_once() -> None:
    driver = FakeDriver()
    browser, timeline = window(driver)
    driver.happens(1.5, "Page.frameNavigated", frame={"id": "1", "url": f"http://hub/user/{USER}/lab"})
    driver.happens(1.6, "Page.frameNavigated", frame={"id": "2", "parentId": "1", "url": "http://hub/inner"})
    driver.happens(1.7, "Page.frameStartedLoading", frameId="1")
    driver.happens(2.0, "Page.loadEventFired", timestamp=1)
    driver.happens(3.0, "Page.navigatedWithinDocument", url="http://hub/tree", frameId="1")
    driver.happens(4.0, "Page.javascriptDialogOpening", message="Leave?", url="http://hub/tree")
    driver.says(2.5, "SEVERE", "http://hub/x.js - 404")
    for _ in range(2):
        browser.update_timeline()
    assert browser.aliases >= {USER}
    assert [(moment.at, moment.source, moment.text) for moment in timeline.slice(0, 9, browser.aliases)] == [
        (1.5, "browser", f"page http://hub/user/{USER}/lab"),
        (2.0, "browser", "loaded"),
        (2.5, "browser", "SEVERE: http://hub/x.js - 404"),
        (3.0, "browser", "address http://hub/tree"),
        (4.0, "browser", "dialog: Leave?"),
    ]
    assert not timeline.slice(0, 9, {USER}), "what a window says is the window's"
    assert browser.console_errors == ["http://hub/x.js - 404"]


@pytest.mark.parametrize("error", [WebDriverException("tab crashed"), ProtocolError("gone"), ConnectionError("gone")])
def test_a_browser_that_is_gone_is_told(error: Exception) -> None:
    browser, timeline = window(FakeDriver(error))
    browser.update_timeline()
    [moment] = timeline.slice(0, 1e12, browser.aliases)
    assert moment.text in ("the browser is gone: tab crashed", "the browser is gone: gone")


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_window_opens_early(late: bool) -> None:
    """It has the link's page, however late that is, and is closed once, by whom it was opened for."""
    happened = []

    class Page:
        def open(self, url: str) -> None:
            happened.append(url)
            if late:
                raise TooLateError("the page did not load")

    @contextmanager
    def empty() -> Iterator[Browser]:
        yield cast(Browser, Page())
        happened.append("closed")

    early = EarlyWindow(empty, "http://hub")
    assert isinstance(early.open("/tmplogin"), Page)
    early.close()
    early.close()
    assert happened == ["http://hub/tmplogin", "closed"]
