"""The page of failed requests in a browser: how soon it is there, and whether it stutters.

A headless Chromium that draws without a graphics card, beside app and emulated Graph on the same
machine: a reader's own machine does better. Not for: whether the page is right.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.peers.job import peak_mib
from reprocess_http import page as report_page
from tests.support import browser, sample_tenant
from tests.support.browser import MANY, Reader

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from emulator.azurite import Azurite
    from tests.support.local_app import App

RUNS = 5
RUN = 1000  # requests of a run
PAGE_SIZE = 500  # what the app asks Graph for
FRAMES = """
  window.frames = [];
  let last = performance.now();
  const frame = (now) => {
    window.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
"""
NTH_ROW = """n => {
  const body = document.querySelector("#table tbody");
  scrollTo(0, scrollY + body.getBoundingClientRect().top + (n - 5) * body.firstElementChild.offsetHeight);
}"""
# Milliseconds from the key's Enter until there are rows, and until the list is whole.
TABLE = """async () => {
  const start = performance.now();
  const main = document.getElementById("main");
  const isThere = () => document.querySelector("#table tbody tr");
  document.getElementById("by-key").requestSubmit();
  while (!isThere()) await new Promise(requestAnimationFrame);
  const rows = performance.now() - start;
  while (main.getAttribute("aria-busy") !== "false") await new Promise(requestAnimationFrame);
  return [rows, performance.now() - start];
}"""


def until_table(chromium: Browser, app: App) -> list[float]:
    """Return the milliseconds from the key until the first rows, and until all of them."""
    with Reader(chromium, app) as reader:
        reader.open().page.get_by_label("Function key").fill(app.function_key)
        times: list[float] = reader.page.evaluate(TABLE)
    return times


def as_delivered(route: Route) -> None:
    """Answer a chunk at once, in place of the app: every request is delivered."""
    ids = (route.request.post_data_json or {})["requestIds"]
    delivered = {"outcome": "alreadyDelivered", "state": "delivered", "detail": ""}
    route.fulfill(json={"results": [{"requestId": one, **delivered} for one in ids]})


def longest_frame(page: Page, act: Any) -> float:
    """Return the longest frame, in milliseconds, until the effects of an act are drawn."""
    page.evaluate("window.frames = []")
    act()
    page.wait_for_timeout(400)
    return float(page.evaluate("Math.max(...window.frames)"))


def frames(chromium: Browser, app: App) -> dict[str, float]:
    """Return the longest frame of each thing that a reader does with the rows."""
    with Reader(chromium, app) as reader:
        page = reader.see().page
        page.evaluate(FRAMES)
        search = page.locator("#search")
        by_name = page.locator("#table thead .who button")

        def scroll() -> None:
            for _ in range(60):
                page.mouse.wheel(0, 1500)
                page.wait_for_timeout(16)

        def run() -> None:
            """Select the first thousand rows of the sweep's order, and reprocess them."""
            page.route(MANY, as_delivered)
            page.evaluate("scrollTo(0, 0)")
            reader.rows().first.get_by_role("checkbox").click()
            page.evaluate(NTH_ROW, RUN)
            last = page.locator(f'#table tr[aria-rowindex="{RUN + 1}"]')
            last.get_by_role("checkbox").click(modifiers=["Shift"])
            page.locator("#reprocess-selected").click()
            page.locator("#ask-yes").click()
            page.locator("#run-close").wait_for()

        return {
            "searching": longest_frame(page, lambda: search.press_sequentially("adele", delay=60)),
            "all again": longest_frame(page, lambda: search.fill("")),
            "sorting by name": longest_frame(page, by_name.click),
            "scrolling": longest_frame(page, scroll),
            f"a run of {RUN:,}": longest_frame(page, run),
        }


def measure(_azurite: Azurite, requests: int) -> dict[str, Any]:
    """Return bytes, milliseconds, calls to Graph and MiB."""
    sent = [len(report_page.answer(how, "").get_body()) for how in ("", "gzip")]
    with sample_tenant.running(requests) as app, browser.started() as chromium:
        app.control("PATCH", "settings", {"pageSize": PAGE_SIZE})
        before = peak_mib(app.parts[1].pid)
        app.control("DELETE", "log")
        first = until_table(chromium, app)
        calls = len(app.calls("list"))
        views = [until_table(chromium, app) for _ in range(RUNS)]
        calls_again = len(app.calls("list")) - calls
        worst = [frames(chromium, app) for _ in range(3)]
        after = peak_mib(app.parts[1].pid)
    result = {
        "requests": requests,
        "bytes": sent,
        "first": first,
        "later": [statistics.median(view[place] for view in views) for place in range(2)],
        "calls": [calls, calls_again],
        "views": RUNS,
        "frames": {what: max(one[what] for one in worst) for what in worst[0]},
        "mib": [before, after],
    }
    print(result, flush=True)
    return result
