"""The browser: waiting for what a page shows, and a browser that went away, which is told from a page that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    InvalidSessionIdException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from urllib3.exceptions import ProtocolError

from harness.base.wait import NeverError, TooLateError
from harness.people import browser
from harness.people.browser import Browser, BrowserCrashedError


def element(text: str = "", shown: bool | Exception = True) -> Any:
    def is_displayed() -> bool:
        if isinstance(shown, Exception):
            raise shown
        return shown

    return SimpleNamespace(text=text, is_displayed=is_displayed)


def fail(error: Exception) -> NoReturn:
    raise error


class Driver:
    """A window in which each look at an element finds the next of these lists, the last one for good.

    Args:
        dialog, editor: texts of a dialog and of a text editor that are there all the time.
    """

    current_url, title = "http://hub/user/7c1e/", "Spawning"

    def __init__(self, *looks: list[Any], heading: str = "", dialog: str = "", editor: str = "") -> None:
        self._looks = list(looks)
        self._heading = heading
        self._parts = {".jp-Dialog-header": dialog, ".jp-FileEditor": editor}

    def find_elements(self, by: str, css: str) -> list[Any]:
        if css == "h1":
            return [element(self._heading)]
        if css in self._parts:
            return [element(text)] if (text := self._parts[css]) else []
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def find_element(self, by: str, css: str) -> Any:
        return element("Your server is starting")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the cause at each look at the page."""
    monkeypatch.setattr(browser, "seldom", lambda look: look)


def window(*looks: list[Any], cause: str | None = None, heading: str = "") -> Browser:
    driver: Any = Driver(*looks, heading=heading)
    return Browser(driver, lambda url: f"{cause} at {url}" if cause else None)


def test_what_is_on_screen_is_returned() -> None:
    stale = element(shown=StaleElementReferenceException())
    page = window([], [stale], [element("hidden", shown=False)], [element("hidden", shown=False), element("seen")])
    assert page.wait_for("the heading", "h2") == "seen"


def test_a_server_that_is_gone_is_not_waited_for() -> None:
    with pytest.raises(NeverError, match="the heading on the page: will not come") as error:
        window([], cause="OOMKilled").wait_for("the heading", "h2")
    assert ": OOMKilled at http://hub/user/7c1e/. The page shows: http://hub/user/7c1e/ «Spawning»" in str(error.value)


def test_a_page_that_is_to_say_so_is_waited_for() -> None:
    page = window([], [element("The kernel died")], cause="OOMKilled")
    assert page.wait_for("the dialog", "h2", ignore_server_loss=True) == "The kernel died"


@pytest.mark.parametrize("heading", ["500 : Internal Server Error", "Spawn failed"])
def test_a_hub_that_gave_up_is_not_waited_for(heading: str) -> None:
    with pytest.raises(NeverError, match=f"the menus on the page: will not come.*: the hub shows {heading}"):
        window([], heading=heading).wait_for("the menus", "h2")


def test_the_hubs_home_page_comes_from_no_server() -> None:
    driver: Any = Driver([])
    driver.current_url = "http://hub/hub/home"
    expected = r"the form on the page: will not come.*: the hub's home page opened, and no server was started"
    with pytest.raises(NeverError, match=expected):
        Browser(driver).wait_for("the form", "h2", timeout=5)


def test_the_list_of_files_is_no_notebook() -> None:
    driver: Any = Driver([])
    driver.current_url = "http://hub/user/7c1e/tree?"
    with pytest.raises(NeverError, match=r"the notebook on the page: will not come.*: the list of files opened"):
        Browser(driver).wait_for_notebook()


def test_a_notebook_that_does_not_load_is_not_waited_for() -> None:
    driver: Any = Driver([], dialog="File Load Error for a.ipynb")
    with pytest.raises(NeverError, match=r"will not come.*: a dialog shows File Load Error for a\.ipynb"):
        Browser(driver).wait_for_notebook()


def test_a_notebook_that_opens_as_text_is_not_waited_for() -> None:
    driver: Any = Driver([], editor="{ 1 2 3")
    with pytest.raises(NeverError, match=r"will not come.*: it opened as text, in the file editor"):
        Browser(driver).wait_for_notebook()


def test_a_notebook_behind_a_question_is_waited_for() -> None:
    driver: Any = Driver([], [element("Linear regression")], dialog="Select Kernel")
    assert Browser(driver).wait_for_notebook() == "Linear regression"


def test_a_notebooks_own_heading_is_no_trouble() -> None:
    assert window([], [element("File")], heading="500 flats").wait_for("the menus", "h2") == "File"


def test_a_page_that_is_busy_is_waited_for() -> None:
    busy = element(shown=TimeoutException("Timed out receiving message from renderer: 60.000"))
    assert window([busy], [element("seen")]).wait_for("the heading", "h2") == "seen"
    with pytest.raises(TooLateError, match=rf"not there after 0 s\. Last seen: {browser.BUSY}"):
        window([busy]).wait_for("the heading", "h2", timeout=0)


def test_a_page_that_does_not_load() -> None:
    class Slow(Driver):
        def get(self, url: str) -> None:
            raise TimeoutException("timeout: Timed out receiving message from renderer: 300.000")

    driver: Any = Slow([])
    with pytest.raises(TooLateError, match=r"http://hub/: the page did not load within 3 s"):
        Browser(driver, patience=3).open("http://hub/")


class Bare(Driver):
    """A page that has a body, and nothing in it to press or to fill."""

    def find_element(self, by: str, css: str) -> Any:
        return super().find_element(by, css) if css == "body" else fail(NoSuchElementException("no such element"))


def test_a_field_that_is_not_there() -> None:
    driver: Any = Bare()
    message = r"\Athe field course is not on the page\. The page shows: http://hub/user/7c1e/ «Spawning» Your server is"
    with pytest.raises(NeverError, match=message):
        Browser(driver).fill("course", "uai_source-uai.1")


class Form(Driver):
    """A page with one field, and what is done to it: a list if it has options, or else a field for text."""

    def __init__(self, *options: str) -> None:
        super().__init__([])
        self.did: list[str] = []
        found = [
            SimpleNamespace(get_attribute={"value": each}.get, click=lambda each=each: self.did.append(f"chose {each}"))
            for each in options
        ]
        self._field = SimpleNamespace(
            tag_name="select" if options else "input",
            find_elements=lambda by, tag: found if tag == "option" else [],
            clear=lambda: self.did.append("cleared"),
            send_keys=lambda text: self.did.append(f"typed {text}"),
        )

    def find_element(self, by: str, css: str) -> Any:
        return self._field if "course" in css else super().find_element(by, css)


@pytest.mark.parametrize(
    ("options", "did"),
    [
        ((), ["cleared", "typed uai_source-uai.ST1"]),
        (("uai_source-uai.0", "uai_source-uai.st1"), ["chose uai_source-uai.st1"]),
        (("uai_source-uai.ST1",), ["chose uai_source-uai.ST1"]),
    ],
    ids=["text", "list", "list of capitals"],
)
def test_a_field_is_filled_as_a_person_does(options: tuple[str, ...], did: list[str]) -> None:
    driver: Any = Form(*options)
    Browser(driver).fill("course", "uai_source-uai.ST1")
    assert driver.did == did


def test_a_list_without_the_option() -> None:
    driver: Any = Form("intro", "uai_source-uai.0")
    message = r"\Athe field course is a list without uai_source-uai\.1\. It has 2 options: intro, uai_source-uai\.0\Z"
    with pytest.raises(NeverError, match=message):
        Browser(driver).fill("course", "uai_source-uai.1")
    assert not driver.did


def test_a_page_that_is_too_busy_to_take_a_key() -> None:
    class Busy(Driver):
        def find_element(self, by: str, css: str) -> Any:
            fail(TimeoutException("Timed out receiving message from renderer"))

    driver: Any = Busy()
    with pytest.raises(TooLateError, match=r"\Athe button #go is on a page that is busy, .* for 9 s so far\Z"):
        Browser(driver, patience=9).press("#go")


@pytest.mark.parametrize(
    ("dialog", "over"),
    [
        ("", "another element would get the click: <p>"),
        ("Server Connection Error: lost it", "a dialog: Server Connection Error: lost it"),
    ],
)
def test_covered_page_takes_no_click(dialog: str, over: str) -> None:
    class Covered(Driver):
        def find_element(self, by: str, css: str) -> Any:
            message = "another element would get the click: <p>\nSession info: chrome"
            return fail(ElementClickInterceptedException(message)) if css == "#go" else element("Untitled")

    driver: Any = Covered([], dialog=dialog)
    expected = rf"the button #go is covered or being replaced \({over}\)\. .*Untitled\Z"
    with pytest.raises(TooLateError, match=expected):
        Browser(driver).press("#go")


class Kernels(Driver):
    """A notebook's page whose server says, each time it is asked, the next of these of its kernels' connections."""

    def __init__(self, *answers: int | str | Exception) -> None:
        super().__init__([])
        self._answers = list(answers)

    def execute_async_script(self, script: str) -> int | str:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return fail(answer) if isinstance(answer, Exception) else answer

    def find_element(self, by: str, css: str) -> Any:
        return fail(NoSuchElementException(f"{len(self._answers)} more")) if "CodeCell" in css else element()


def test_no_cell_is_run_before_the_page_has_a_kernel() -> None:
    driver: Any = Kernels(0, "502 for the server's list of kernels", TimeoutException("renderer"), 1, 2)
    with pytest.raises(NeverError, match="the first code cell is not on the page") as error:
        Browser(driver).run_first_cell("6 * 7")
    assert "1 more" in str(error.value.__cause__), "the cell was looked for before the page had a kernel"


def test_kernel_that_the_page_offers_is_taken() -> None:
    """A notebook that names no kernel has its page ask for one, and no cell runs before the answer."""
    pressed: list[str] = []

    class Asks(Kernels):
        def find_elements(self, by: str, css: str) -> list[Any]:
            return [element("Select Kernel")] if css == ".jp-Dialog-header" and not pressed else []

        def find_element(self, by: str, css: str) -> Any:
            found = super().find_element(by, css)
            found.click = lambda: pressed.append(css)
            return found

    driver: Any = Asks(0, 1)
    with pytest.raises(NeverError, match="the first code cell is not on the page"):
        Browser(driver).run_all_cells()
    assert pressed == [".jp-Dialog .jp-mod-accept"]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (0, "no connection to any kernel"),
        ("403 for the server's list of kernels", "403 for the server's list of kernels"),
        (TimeoutException("renderer"), browser.BUSY),
    ],
)
def test_a_page_without_a_kernel(answer: int | str | Exception, seen: str) -> None:
    driver: Any = Kernels(answer)
    with pytest.raises(TooLateError, match=rf"the page's connection to its kernel: not there.*Last seen: {seen}"):
        Browser(driver, patience=0).run_first_cell("6 * 7")


def test_a_kernel_whose_server_is_gone_is_not_waited_for() -> None:
    driver: Any = Kernels("Failed to fetch")
    message = (
        r"the page's connection to its kernel: will not come.*: the pod is gone\. The page shows: http://hub/user/7c1e/"
    )
    with pytest.raises(NeverError, match=message):
        Browser(driver, lambda _: "the pod is gone").run_first_cell("6 * 7")


def test_output_of_a_cell_is_waited_for() -> None:
    class Outputs(Driver):
        found: ClassVar[list[list[str] | Exception]] = [TimeoutException("renderer"), [], ["1"], ["1", "kept 42"]]

        def execute_script(self, script: str, *arguments: str | None) -> list[str]:
            found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
            return fail(found) if isinstance(found, Exception) else found

    driver: Any = Outputs([])
    Browser(driver).wait_for_output("42")
    with pytest.raises(TooLateError, match=r"the output 'still': not there.*the outputs \['1', 'kept 42'\]"):
        Browser(driver).wait_for_output("still", 0)


@pytest.mark.parametrize("why", ["", "403 '_xsrf' argument missing from PUT"])
def test_save_of_a_page(why: str) -> None:
    class Saves(Driver):
        def execute_async_script(self, script: str, *paths: str) -> str:
            assert paths == ("lectures/a%26b.ipynb", "copy.ipynb")
            return why

    driver: Any = Saves([])
    assert Browser(driver).why_not_saved("lectures/a&b.ipynb", "copy.ipynb") == why


def test_what_a_busy_page_shows_is_not_told() -> None:
    class Busy(Driver):
        def execute_script(self, script: str, *arguments: str) -> list[str]:
            fail(TimeoutException("Timed out receiving message from renderer"))

    driver: Any = Busy()
    with pytest.raises(TooLateError, match=r"\A\.lm-MenuBar-itemLabel is on a page that is busy, .* for 9 s so far\Z"):
        Browser(driver, patience=9).texts(".lm-MenuBar-itemLabel")


def test_a_menu_that_is_not_there() -> None:
    driver: Any = Bare()
    with pytest.raises(NeverError, match=r"\Athe menu File is not on the page\. The page shows: http://hub/user/7c1e/"):
        Browser(driver).menu("File")


def test_too_late() -> None:
    with pytest.raises(TooLateError, match=r"the heading on the page: not there after 0 s.*Your server is starting"):
        window([]).wait_for("the heading", "h2", timeout=0)


def test_its_files_are_in_a_short_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is among them."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(browser, "scratch_root", lambda: tmp_path)
    started: list[str] = []

    def start(options: webdriver.ChromeOptions, service: webdriver.ChromeService) -> NoReturn:
        started.append(str(service.env["TMPDIR"]))
        raise WebDriverException("far enough")

    monkeypatch.setattr(browser, "_Chrome", start)
    with pytest.raises(BrowserCrashedError, match="far enough"), browser.browser(lambda _: None):
        pass
    assert [Path(each).parent for each in started] == [tmp_path]


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
    ("error", "reason"),
    [
        (InvalidSessionIdException("session deleted as the browser has closed the connection"), "session deleted as"),
        (WebDriverException("tab crashed\n  (Session info: chrome=1)"), "tab crashed"),
        (WebDriverException("chrome not reachable"), "chrome not reachable"),
        (ProtocolError("Connection aborted."), "Connection aborted."),
        (ConnectionRefusedError(111, "Connection refused"), r"\[Errno 111\] Connection refused"),
    ],
)
def test_a_browser_that_went_away(chrome: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    failing(monkeypatch, error)
    message = rf"\AThe browser is gone, which is no fault of the page: {reason}.*\nchromedriver's last output:"
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
    assert chrome.command_executor.client_config.timeout == browser.PAGE_TIMEOUT + browser.DRIVER_SECONDS
