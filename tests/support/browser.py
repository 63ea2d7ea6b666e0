"""A real browser with the page in it, and what a reader does there.

Not for: tests (e2e/test_page.py) or pictures (pictures.py), which share it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from playwright.sync_api import sync_playwright

from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What breaks the page's policy is told to the page, and kept here until a test looks.
WATCH = """
  window.violations = [];
  addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
LIST = "**/api/requests?*"
MANY = "**/api/requests/reprocess"


@cache
def chromium() -> str:
    """Return where Chromium is, installed if need be. Raises AssertionError with what to do."""
    found = subprocess.run([APP / "scripts" / "chromium"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A headless Chromium; root cannot have its sandbox."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()


class Reader:
    """Somebody with the page of one app in a window of their own."""

    def __init__(self, browser: Browser, app: Any, **options: Any) -> None:
        given = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB"}
        self.app = app
        self.context: BrowserContext = browser.new_context(**(given | options))
        self.context.add_init_script(WATCH)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.page.is_closed():
            self.page.unroute_all(behavior="ignoreErrors")
        self.context.close()

    def open(self, fragment: str = "") -> Self:
        """Open the page and wait until it asks for a key, or for the list."""
        self.page.goto(f"{self.app.url}/api/report{fragment}")
        self.page.locator("#loading").wait_for(state="hidden")
        return self

    def give(self, key: str | None = None) -> Self:
        """Type a function key, the right one if none is given."""
        self.page.get_by_label("Function key").fill(self.app.function_key if key is None else key)
        self.page.keyboard.press("Enter")
        return self

    def see(self, fragment: str = "") -> Self:
        """Open the page with the right key and wait for the whole list."""
        self.open(fragment).give()
        self.page.locator("#main[aria-busy=false] #list:not([hidden])").wait_for()
        return self

    def change(self, change: Callable[[dict[str, Any]], object]) -> Self:
        """Change the app's own list on its way to the page."""

        def changed(route: Route) -> None:
            answer = route.fetch()
            if not answer.ok:
                route.fulfill(response=answer)
                return
            body = answer.json()
            change(body)
            route.fulfill(response=answer, json=body)

        self.page.route(LIST, changed)
        return self

    def fail(self, name: str, status: int, pattern: str = LIST, **more: object) -> Self:
        """Let the app answer with a problem."""
        body = {"type": f"urn:redeliver:problem:{name}", "status": status} | more
        kind, text = "application/problem+json", json.dumps(body)
        self.page.route(
            pattern, lambda route: route.fulfill(status=status, content_type=kind, body=text)
        )
        return self

    def rows(self) -> Locator:
        """The rows that are in the page now."""
        return self.page.locator("#table tbody tr")

    def row(self, text: str) -> Locator:
        return self.rows().filter(has_text=text)

    def text(self, element_id: str) -> str:
        return self.page.locator(f"#{element_id}").inner_text()

    def violations(self) -> list[str]:
        """What broke the policy, and what no script foresaw."""
        return [*self.page.evaluate("window.violations"), *self.errors]
