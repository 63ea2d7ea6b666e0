"""The page of failed requests in a browser: how soon it is there, and whether it stutters.

    python -m benchmarks.page

A headless Chromium that draws without a graphics card, beside app, emulated Graph and Azurite on
the same machine: a reader's own machine does better. Not for: whether the page is right.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprocess_http import page as report_page
from tests import browser, lived_in
from tests.browser import Reader

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.local_app import App

REQUESTS = 5000
RUNS = 5
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
# Milliseconds from the key's Enter until there are rows, and until the list is whole.
TABLE = """async () => {
  const start = performance.now();
  const main = document.getElementById("main");
  const isThere = () => document.querySelector("#table tbody tr");
  document.getElementById("key-form").requestSubmit();
  while (!isThere()) await new Promise(requestAnimationFrame);
  const rows = performance.now() - start;
  while (main.getAttribute("aria-busy") !== "false") await new Promise(requestAnimationFrame);
  return [rows, performance.now() - start];
}"""


def until_table(chromium: Browser, app: App) -> list[float]:
    """Milliseconds until the first rows, and until all of them, from the key on."""
    with Reader(chromium, app) as reader:
        reader.open().page.get_by_label("With a function key").fill(app.function_key)
        times: list[float] = reader.page.evaluate(TABLE)
    return times


def longest_frame(page: Page, act: Any) -> float:
    """The longest frame, in milliseconds, from before an act until its effects are drawn."""
    page.evaluate("window.frames = []")
    act()
    page.wait_for_timeout(400)
    return float(page.evaluate("Math.max(...window.frames)"))


def frames(chromium: Browser, app: App) -> dict[str, float]:
    """The longest frame of what a reader does with the rows."""
    with Reader(chromium, app) as reader:
        page = reader.see().page
        page.evaluate(FRAMES)
        search = page.locator("#search")
        by_name = page.locator("#table thead .who button")

        def scroll() -> None:
            for _ in range(60):
                page.mouse.wheel(0, 1500)
                page.wait_for_timeout(16)

        return {
            "searching": longest_frame(page, lambda: search.press_sequentially("adele", delay=60)),
            "all again": longest_frame(page, lambda: search.fill("")),
            "sorting by name": longest_frame(page, by_name.click),
            "scrolling": longest_frame(page, scroll),
        }


def peak_mib(app: App) -> float:
    """Peak memory of the host with the app, which is the second of the two processes."""
    status = Path(f"/proc/{app.parts[1].pid}/status").read_text()
    return next(int(s.split()[1]) for s in status.splitlines() if s.startswith("VmHWM")) / 1024


def measure() -> dict[str, Any]:
    sent = [report_page.answer(how, "").get_body() for how in ("", "gzip")]
    with lived_in.running(REQUESTS) as app, browser.started() as chromium:
        app.control("PATCH", "settings", {"pageSize": PAGE_SIZE})
        before = peak_mib(app)
        app.control("DELETE", "log")
        cold = until_table(chromium, app)
        calls = len(app.calls("list"))
        warm = [until_table(chromium, app) for _ in range(RUNS)]
        again = len(app.calls("list"))
        later = [statistics.median(view[place] for view in warm) for place in range(2)]
        worst = [frames(chromium, app) for _ in range(3)]
        after = peak_mib(app)
    return {
        "its size; as sent (gzip) kB": f"{len(sent[0]) / 1000:.0f}; {len(sent[1]) / 1000:.0f}",
        f"{REQUESTS:,} failed, first view: table there / whole ms": f"{cold[0]:.0f} / {cold[1]:.0f}",
        "later views within half a minute ms": f"{later[0]:.0f} / {later[1]:.0f}",
        f"calls to Graph: first view / the next {RUNS}": f"{calls} / {again - calls}",
        **{
            f"longest frame, {what} ms": f"{max(one[what] for one in worst):.0f}"
            for what in worst[0]
        },
        "peak memory of the app before / after MiB": f"{before:.0f} / {after:.0f}",
    }
