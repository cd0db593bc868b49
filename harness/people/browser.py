"""A real browser, as a student has one: headless Chromium, driven by selenium."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    InvalidSessionIdException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.remote_connection import RemoteConnection
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError
from harness.base.names import Names
from harness.base.shell import environment, tail
from harness.base.timeline import UUID, Timeline
from harness.base.wait import NeverError, NotYet, TooLateError, seldom, wait_until
from harness.host.leak_check import scratch_prefix, scratch_root

T = TypeVar("T")

PAGE_TIMEOUT = 60
"""Seconds for a page to show what it should, while a test waits for it."""
DRIVER_SECONDS = 30
"""Seconds for chromedriver to answer, beside those that it gives a page by itself."""
COVERED = (ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException)
"""Errors of an element that is there, under a dialog or about to be replaced."""
BUSY = "a page that is busy, and does not answer"
LOG = "chromedriver.log"
CONNECTIONS = """
const done = arguments[0];
const data = document.getElementById("jupyter-config-data");
if (!data) return done("no page of Jupyter's");
const { baseUrl } = JSON.parse(data.textContent);
const [, xsrf] = /\\b_xsrf=([^;]*)/.exec(document.cookie) || [];
fetch(`${baseUrl}api/kernels`, { headers: { "X-XSRFToken": xsrf || "" } })
  .then((answer) => answer.ok ? answer.json() : Promise.reject(`${answer.status} for the server's list of kernels`))
  .then((kernels) => done(kernels.reduce((sum, kernel) => sum + Math.max(0, kernel.connections), 0)))
  .catch((error) => done(String(error)));
"""
"""Script that returns the number of connections to the kernels of the page's server, or why it cannot, as text."""
SAVE = """
const [from, to, done] = arguments;
const data = document.getElementById("jupyter-config-data");
if (!data) return done("no page of Jupyter's");
const { baseUrl } = JSON.parse(data.textContent);
const [, xsrf] = /\\b_xsrf=([^;]*)/.exec(document.cookie) || [];
const headers = { "X-XSRFToken": xsrf || "", "Content-Type": "application/json" };
const ask = async (path, options) => {
  const answer = await fetch(`${baseUrl}api/contents/${path}?type=notebook`, { headers, ...options });
  if (!answer.ok) throw `${answer.status} ${(await answer.text()).slice(0, 200)}`;
  return answer.json();
};
ask(from)
  .then(({ content }) => ask(to, { method: "PUT", body: JSON.stringify({ type: "notebook", content }) }))
  .then(() => done(""))
  .catch((error) => done(String(error)));
"""
"""Script that saves a notebook under another name as its page does; returns why it cannot, or an empty text."""
ON_SCREEN = """
const [css, attribute] = arguments;
const seen = { visibilityProperty: true, opacityProperty: true };
const shown = [...document.querySelectorAll(css)].filter((each) => each.checkVisibility(seen));
return shown.map((each) => attribute ? each.getAttribute(attribute) : each.innerText.trim());
"""
FASTER_TIMERS = """
const later = window.setTimeout;
window.setTimeout = (what, milliseconds, ...rest) => later(what, milliseconds / %g, ...rest);
"""
"""Script that divides the time of every timer of a page."""
CRASHED = ("crashed", "not reachable", "disconnected", "session deleted", "DevToolsActivePort", "unable to connect")
"""chromedriver's words for a browser that is gone, or never came up (chromium, chrome/test/chromedriver)."""


class BrowserCrashedError(HarnessError):
    """The browser or its driver went away: no verdict about the page."""


class _Chrome(webdriver.Chrome):
    """Chromium whose disappearance is an error of its own, with chromedriver's last words."""

    patience: float = PAGE_TIMEOUT

    def execute(self, driver_command: Any, params: dict[str, Any] | None = None) -> Any:
        cast(RemoteConnection, self.command_executor).client_config.timeout = self.patience + DRIVER_SECONDS
        try:
            return super().execute(driver_command, params)
        except (InvalidSessionIdException, HTTPError, OSError) as error:
            raise _crashed(error, Path((self.service.env or {})["TMPDIR"], LOG)) from error
        except WebDriverException as error:
            if any(word in str(error.msg) for word in CRASHED):
                raise _crashed(error, Path((self.service.env or {})["TMPDIR"], LOG)) from error
            raise


def _crashed(error: Exception, log: Path) -> BrowserCrashedError:
    lines = str(getattr(error, "msg", None) or error).strip().splitlines() or [type(error).__name__]
    words = tail(log.read_text(errors="replace"), 3) if log.is_file() else ""
    return BrowserCrashedError(
        f"The browser is gone, which is no fault of the page: {lines[0]}\n"
        f"chromedriver's last output:{words or ' nothing'}"
    )


class Browser:
    """One person's browser window.

    Args:
        why_unrecoverable: returns why the page at a URL can never come, as Kubernetes sees it; None while it may.
        timeline: for the pages that were open, and their messages on the console.
        patience: seconds for a page to load, and for it to show what it should.
    """

    def __init__(
        self,
        driver: WebDriver,
        why_unrecoverable: Callable[[str], str | None] = lambda url: None,
        timeline: Timeline | None = None,
        patience: float = PAGE_TIMEOUT,
    ) -> None:
        self.driver = driver
        self._why_unrecoverable = why_unrecoverable
        self._patience = patience
        self.began = time.time()
        """When the window was opened."""
        self._alias = str(uuid4())
        self.aliases = {self._alias}
        """Names in the timeline: the window's own, and those of the users to whom its pages belonged."""
        self._timeline = Timeline() if timeline is None else timeline
        self.console_errors: list[str] = []
        """Severe messages on the consoles of the window's pages, as of the last call of `update_timeline`."""

    def open(self, url: str) -> None:
        """Go to a URL, and wait until the page's own load event fired.

        Raises:
            TooLateError: it has not, within the window's patience.
        """
        try:
            self.driver.get(url)
        except TimeoutException as error:
            raise TooLateError(f"{url}: the page did not load within {self._patience:.0f} s") from error

    def wait_for(
        self,
        what: str,
        css: str,
        timeout: float | None = None,
        *,
        ignore_server_loss: bool = False,
        instead: Callable[[], str | None] = lambda: None,
    ) -> str:
        """Wait until an element is on screen, and return its text.

        Args:
            timeout: seconds; the window's patience unless given.
            ignore_server_loss: wait on though the server is gone: for a page that is to show just that.
            instead: returns what has opened in its place, which ends the wait; None while nothing has.

        Raises:
            HarnessError: it is not there in time, or will never be; the message has the cause, where
                Kubernetes names one, and what the page shows instead.
        """

        def trouble() -> str | None:
            return None if ignore_server_loss else self._trouble(instead)

        return self._wait(f"{what} on the page", lambda: self._shown(css), trouble, timeout)

    def _wait(
        self, what: str, look: Callable[[], T | NotYet], trouble: Callable[[], str | None], timeout: float | None = None
    ) -> T:
        seconds = self._patience if timeout is None else timeout
        try:
            return wait_until(what, look, timeout=seconds, fail_if=seldom(trouble))
        except (NeverError, TooLateError) as error:
            raise type(error)(f"{error}. The page shows: {self.summary()}") from error

    def _trouble(self, instead: Callable[[], str | None] = lambda: None) -> str | None:
        with suppress(TimeoutException):  # A busy page shows no trouble.
            return instead() or self._hub_gave_up() or self._why_unrecoverable(self.driver.current_url)
        return None

    def wait_for_notebook(self, what: str = "the notebook", part: str = "h1") -> str:
        """Wait until the first heading of a notebook, or another part, is on screen, and return its text.

        Raises:
            HarnessError: as `wait_for`; at once if something else opens: the list of files, a text editor, an error.
        """
        return self.wait_for(what, f".jp-Notebook {part}", instead=self._no_notebook)

    def _no_notebook(self) -> str | None:
        """Return what Jupyter shows in place of a notebook; None while it may still show one."""
        dialog = str(self._shown(".jp-Dialog-header"))
        return self.another_page() or (f"a dialog shows {dialog}" if "Error" in dialog else None)

    def another_page(self) -> str | None:
        """Return what opened in place of a notebook's page, be the notebook there or not; None if nothing did."""
        if re.match(r"/user/[^/]+/tree\b", urlsplit(self.driver.current_url).path):
            return "the list of files opened"
        if not isinstance(self._shown(".jp-FileEditor"), NotYet):
            return "it opened as text, in the file editor: what shows notebooks is off"
        return None

    def _hub_gave_up(self) -> str | None:
        """Return the reason on the hub's page for which no server comes; None on any other page."""
        if urlsplit(self.driver.current_url).path == "/hub/home":
            return "the hub's home page opened, and no server was started (see redirect_to_server and default_url)"
        heading = self._shown("h1")
        return f"the hub shows {heading}" if re.match("500 : |Spawn failed", str(heading)) else None

    def _shown(self, css: str) -> str | NotYet:
        try:
            shown = [each for each in self.driver.find_elements(By.CSS_SELECTOR, css) if each.is_displayed()]
            return shown[0].text or " " if shown else NotYet(f"no {css}")
        except StaleElementReferenceException:
            return NotYet(f"{css}, being replaced")
        except TimeoutException:
            return NotYet(BUSY)

    def fill(self, name: str, text: str) -> None:
        """Type into the field with that name or id, or choose that option where it is a list; its case does not count.

        Raises:
            HarnessError: there is none, or the page is too busy to take it.
        """
        with self._acting(f"the field {name}"):
            field = self.driver.find_element(By.CSS_SELECTOR, f'[name="{name}"], #{name}')
            if field.tag_name != "select":
                field.clear()
                field.send_keys(text)
                return
            options = {str(each.get_attribute("value")): each for each in field.find_elements(By.TAG_NAME, "option")}
            wanted = next((value for value in options if value.lower() == text.lower()), None)
            if wanted is None:
                offered = ", ".join(list(options)[:5])
                raise NeverError(f"the field {name} is a list without {text}. It has {len(options)} options: {offered}")
            options[wanted].click()

    def run_first_cell(self, code: str, timeout: float | None = None) -> None:
        """Replace the first code cell of the notebook on screen, and run it, by the keyboard.

        Args:
            timeout: seconds for the page to have a kernel; the window's patience unless given.

        Raises:
            HarnessError: as `fill`; the page has no kernel in time, or will never have one.
        """
        # JupyterLab silently drops a cell that is run before that.
        self._wait("the page's connection to its kernel", self._connected, self._trouble, timeout)
        with self._acting("the first code cell"):
            self.driver.find_element(By.CSS_SELECTOR, ".jp-CodeCell .cm-content").click()
            keys = webdriver.ActionChains(self.driver)
            keys.key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(Keys.DELETE).send_keys(code)
            keys.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()

    def wait_for_output(self, text: str, timeout: float | None = None) -> None:
        """Wait until an output of the notebook on screen has a text.

        Args:
            timeout: seconds; the window's patience unless given.

        Raises:
            HarnessError: as `wait_for`.
        """

        def there() -> bool | NotYet:
            try:
                outputs: list[str] = self.driver.execute_script(ON_SCREEN, ".jp-OutputArea-output", None)
            except TimeoutException:
                return NotYet(BUSY)
            return any(text in output for output in outputs) or NotYet(f"the outputs {outputs}"[:300])

        self._wait(f"the output {text!r}", there, self._trouble, timeout)

    def why_not_saved(self, notebook: str, copy: str) -> str:
        """Save a copy of a notebook with the cookies of the page on screen; return why not, empty where it is saved."""
        with self._acting(f"a copy of {notebook}"):
            return str(self.driver.execute_async_script(SAVE, quote(notebook), quote(copy)))

    def run_all_cells(self) -> None:
        """Run all cells of the notebook on screen, by the keyboard; return before they are done.

        Raises:
            HarnessError: as `run_first_cell`.
        """

        def connected() -> bool | NotYet:
            # The page asks where a notebook names no kernel, and has one on offer.
            if "Select Kernel" in str(self._shown(".jp-Dialog-header")):
                self.press(".jp-Dialog .jp-mod-accept")
            return self._connected()

        self._wait("the page's connection to its kernel", connected, self._trouble)
        with self._acting("the first code cell"):
            self.driver.find_element(By.CSS_SELECTOR, ".jp-CodeCell .jp-InputPrompt").click()
            keys = webdriver.ActionChains(self.driver).send_keys(Keys.ESCAPE)
            keys.key_down(Keys.CONTROL).send_keys("a").send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()

    def widgets(self) -> list[str]:
        """Return the texts of the notebook's widgets that are on screen: an extension's outputs name no MIME type."""
        return self.texts(".jp-OutputArea-output:not([data-mime-type])")

    def _connected(self) -> bool | NotYet:
        try:
            found = self.driver.execute_async_script(CONNECTIONS)
        except TimeoutException:
            return NotYet(BUSY)
        if isinstance(found, str):
            return NotYet(found)
        return found > 0 or NotYet("no connection to any kernel")

    def press(self, css: str) -> None:
        """Press the first button that matches.

        Raises:
            HarnessError: as `fill`.
        """
        with self._acting(f"the button {css}"):
            self.driver.find_element(By.CSS_SELECTOR, css).click()

    @contextmanager
    def _acting(self, on: str) -> Iterator[None]:
        try:
            yield
        except NoSuchElementException as error:
            raise NeverError(f"{on} is not on the page. The page shows: {self.summary()}") from error
        except TimeoutException as error:
            raise TooLateError(f"{on} is on {BUSY}, for {self._patience:.0f} s so far") from error
        except COVERED as error:
            raise TooLateError(f"{on} is {self._covered(error)}. The page shows: {self.summary()}") from error

    def _covered(self, error: WebDriverException) -> str:
        dialog = self._shown(".jp-Dialog-header")
        over = f"a dialog: {dialog}" if isinstance(dialog, str) else (error.msg or "").partition("\n")[0]
        return f"covered or being replaced ({over})"

    def menu(self, label: str) -> list[str]:
        """Open a menu of the menu bar, and return the commands of its entries.

        Raises:
            HarnessError: as `fill`.
        """
        with self._acting(f"the menu {label}"):
            self.driver.find_element(By.XPATH, f'//*[contains(@class, "lm-MenuBar-itemLabel")][.="{label}"]').click()
        self.wait_for(f"the menu {label}", ".lm-Menu-item[data-command]")
        return self.texts(".lm-Menu-item[data-command]", "data-command")

    def buttons(self, css: str) -> list[str]:
        """Return the names of the items on screen in the toolbar that matches, as its settings have them."""
        return self.texts(f"{css} [data-jp-item-name]", "data-jp-item-name")

    def texts(self, css: str, attribute: str = "") -> list[str]:
        """Return the text of each element on screen that matches, or an attribute of it, all at the same moment."""
        with self._acting(css):
            return cast(list[str], self.driver.execute_script(ON_SCREEN, css, attribute))

    def update_timeline(self) -> None:
        """Add to the timeline what has happened in the window since the last call."""
        try:
            for entry in self.driver.get_log("performance"):
                if page := _page(json.loads(entry["message"])["message"]):
                    self.aliases.update(re.findall(UUID, page))
                    self._tell(page, entry["timestamp"])
            for entry in self.driver.get_log("browser"):
                self._tell(f"{entry['level']}: {entry['message']}", entry["timestamp"])
                self.console_errors += [entry["message"]] if entry["level"] == "SEVERE" else []
        except (WebDriverException, HTTPError, OSError) as error:
            # The browser's end belongs to the timeline, and its reader already has a failure to report.
            self._tell(f"the browser is gone: {getattr(error, 'msg', None) or error}", time.time() * 1000)

    def _tell(self, text: str, milliseconds: float) -> None:
        self._timeline.add("browser", text, who=self._alias, at=milliseconds / 1000)

    def summary(self) -> str:
        """Return the browser's address and what it shows, on one line."""
        try:
            body = " ".join(self.driver.find_element(By.TAG_NAME, "body").text.split())
            return f"{self.driver.current_url} «{self.driver.title}» {body[:200]}"
        except TimeoutException:
            return BUSY

    def screenshot(self, file: Path) -> Path:
        """Keep what the window shows as a PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(file))
        return file


def _page(event: dict[str, Any]) -> str:
    """Describe an event of the DevTools' domain Page about the window's own page; empty for any other."""
    match event:
        case {"method": "Page.frameNavigated", "params": {"frame": {"url": url} as frame}} if "parentId" not in frame:
            return f"page {url}"
        case {"method": "Page.navigatedWithinDocument", "params": {"url": url}}:
            return f"address {url}"
        case {"method": "Page.loadEventFired"}:
            return "loaded"
        case {"method": "Page.javascriptDialogOpening", "params": {"message": message}}:
            return f"dialog: {message}"
    return ""


@contextmanager
def browser(
    why_unrecoverable: Callable[[str], str | None],
    timeline: Timeline | None = None,
    patience: float = PAGE_TIMEOUT,
    timer_speedup: float = 1,
    names: Names | None = None,
    trust: Callable[[Path], None] = lambda home: None,
) -> Iterator[Browser]:
    """Open a fresh Chromium with a profile of its own; it is gone at the end, profile and all.

    The other arguments are Browser's.

    Args:
        names: the hosts that it knows by their names; it then reaches no others, and has a home directory of its own.
        trust: has a browser with that home directory trust their certificates.
        timer_speedup: divides the waits of its pages' timers, such as the pause between two questions to their server.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        raise HarnessError("No browser here: chromium and chromedriver are expected in PATH")
    prefix = f"{scratch_prefix()}browser-"
    with TemporaryDirectory(prefix=prefix, dir=scratch_root(), ignore_cleanup_errors=True) as scratch:
        options = Options()
        options.binary_location = chromium
        for argument in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
            f"--user-data-dir={scratch}/profile",
        ):  # fmt: skip
            options.add_argument(argument)
        home = {}
        if names:
            options.add_argument(f"--host-resolver-rules={names.chromium_rules}")
            options.add_argument("--no-proxy-server")
            home["HOME"] = f"{scratch}/home"
            trust(Path(home["HOME"]))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Of the DevTools' events only those of pages: each request would be a hundred times as many.
        options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": False, "enablePage": True})
        service = Service(
            driver,
            service_args=["--log-level=INFO", f"--log-path={scratch}/{LOG}"],
            # Chromium's own temporary files are removed with ours.
            env=environment(TMPDIR=scratch, **home),
            # As with every program: on Ctrl-C we decide the order in which they end.
            popen_kw={"start_new_session": True},
        )
        try:
            chrome = _Chrome(options=options, service=service)
        except WebDriverException as error:
            raise _crashed(error, Path(scratch, LOG)) from error
        chrome.patience = patience
        chrome.set_page_load_timeout(patience)
        try:
            if timer_speedup != 1:
                chrome.execute_cdp_cmd(
                    "Page.addScriptToEvaluateOnNewDocument", {"source": FASTER_TIMERS % timer_speedup}
                )
            window = Browser(chrome, why_unrecoverable, timeline, patience)
            try:
                yield window
            finally:
                window.update_timeline()
        finally:
            chrome.quit()
            # A chromedriver that died left its Chromium behind.
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)


OpenWindow = Callable[[], AbstractContextManager[Browser]]
"""Opens an empty window for as long as its context is open."""


class EarlyWindow:
    """A window that opens with its first page, in any thread.

    Args:
        hub: URL of the hub that its links are at.
    """

    def __init__(self, open_window: OpenWindow, hub: str) -> None:
        self._open_window, self._hub = open_window, hub
        self._stack = ExitStack()

    def open(self, link: str) -> Browser:
        """Open the window, and in it a link; return it when the page has loaded, or takes too long for that.

        Raises:
            HarnessError: there is no browser, or it went away.
        """
        window = self._stack.enter_context(self._open_window())
        # What a late page shows in the end is for the test to see.
        with suppress(TooLateError):
            window.open(f"{self._hub}{link}")
        return window

    def close(self) -> None:
        """Close the window, if it was opened."""
        self._stack.close()
