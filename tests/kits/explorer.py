"""The explorer's page in a real browser as a test sees it: one server with every installed backend on `shapes`, one
browser for all tests. `tests/conftest.py` names this as a plugin, for its fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import vizkit

from .browser import CHROMIUM

INSTALLED = [info.name for info in vizkit.backends() if info.installed]

OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--lang=en-GB"]
PIXELS = """(canvas) => [canvas.height, canvas.width,
  ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""


class Screen:
    """A page with what its console said; ``page`` is Playwright's."""

    def __init__(self, context: Any, url: str, view: str) -> None:
        self.context, self.console = context, []
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.url = url
        self.open(view)

    def _heard(self, said: Any) -> None:
        if said.type == "error":
            self.console.append(f"{said.text} {said.location['url']}")

    def open(self, view: str) -> None:
        """Go to a view; returns when its predictions are there."""
        self.page.goto(f"{self.url}#{view}")
        self.page.locator("html[data-ready]").wait_for(state="attached")
        self.page.locator("#predictions:not(.waits) tbody tr").first.wait_for()

    def all(self, selector: str) -> list[str]:
        """Texts of elements, in their order."""
        return [" ".join(one.split()) for one in self.page.locator(selector).all_inner_texts()]

    def pixels(self, selector: str) -> Any:
        """A canvas as uint8 (H, W, 3)."""
        height, width, *data = self.page.locator(selector).first.evaluate(PIXELS)
        return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]

    def number(self, selector: str) -> float:
        """A number on the screen."""
        return plain(self.page.locator(selector).first.inner_text())

    def expect(self, selector: str) -> Any:
        """Playwright's patient assertions about an element."""
        from playwright.sync_api import expect

        expect.set_options(timeout=20_000)  # a busy machine is late, not wrong
        return expect(self.page.locator(selector))

    def close(self) -> None:
        """Leave; the console must have been silent."""
        self.context.close()
        assert self.console == []

    @property
    def view(self) -> dict[str, str]:
        """What the address says."""
        return dict(self.page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"))


def plain(text: str) -> float:
    """The page's way to write a number, as a number; "< 0.1 %" is zero, "> 99.9 %" a hundred."""
    return 0.0 if "<" in text else 100.0 if ">" in text else float(text.replace("−", "-").replace("%", "").strip())


@pytest.fixture(scope="session")
def twins() -> list[Any]:
    """`shapes` in each backend, for what the tests compare with: the server has its own."""
    return [vizkit.load("shapes", backend=name) for name in INSTALLED]


@pytest.fixture(scope="session")
def explorer() -> Iterator[Any]:
    """A running explorer."""
    for package in ("starlette", "uvicorn"):
        pytest.importorskip(package, reason=f"the explorer needs {package}")
    with vizkit.explore([vizkit.load("shapes", backend=name) for name in INSTALLED], browser=False) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="drives a browser with Playwright")
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        except playwright.Error as error:
            pytest.skip(f"no browser starts here: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Screen]]:
    """``browse(url, view)`` opens the page; afterwards its console must have been silent."""
    screens: list[Screen] = []

    def opened(url: str, view: str = "", **options: Any) -> Screen:
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **options})
        screens.append(Screen(context, url, view))
        return screens[-1]

    yield opened
    for one in screens:
        one.close()


@pytest.fixture
def screen(browse: Callable[..., Screen], explorer: Any) -> Callable[..., Screen]:
    """``screen(view)`` opens a view of `shapes`."""
    return lambda view="", **options: browse(explorer.url, view, **options)
