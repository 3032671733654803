"""Debian's Chromium, driven by Playwright, and axe-core's look at its pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.testbed.packages import install, program

# Without most of these Chromium looks for Google's hosts at each start.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE = 20_000
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser for the time of the block."""
    install("chromium", "chromium", "fonts-dejavu-core")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program("chromium"), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """One window on a site.

    Attributes:
        page: what it shows.
        complaints: what the browser's console said, and what went wrong in scripts.
    """

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Load a page, and see that it comes."""
        answer = self.page.goto(self.base + path)
        assert answer is not None
        assert answer.status < 400, (path, answer.status)

    def text(self, selector: str = "main") -> str:
        """Return the text of an element."""
        return self.page.inner_text(selector)

    def wait(self, words: str, selector: str = "main") -> None:
        """Wait until an element shows some words."""
        self.page.wait_for_function(
            "([s, t]) => document.querySelector(s)?.innerText.includes(t)", arg=[selector, words]
        )

    @property
    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1")
        )

    @property
    def barriers(self) -> list[str]:
        """What axe-core takes for a serious or critical barrier."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]


@contextmanager
def window(browser: Browser, base: str, **options: Any) -> Iterator[Window]:
    """Open a window with cookies of its own; options are those of a browser context."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    made = Window(page, base)

    def console(message: Any) -> None:
        if message.type in {"error", "warning"}:
            made.complaints.append(f"{message.type}: {message.text}")

    page.on("console", console)
    page.on("pageerror", lambda error: made.complaints.append(f"script: {error}"))
    try:
        yield made
    finally:
        context.close()
