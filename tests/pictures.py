"""Pictures of the page in every state, from the running app: `make pictures`.

All go into .pictures; the README's, docs/report.png, is what `make run` shows. States that an app
in good health does not come into are made by changing its answers on their way to the browser.
e2e/test_page_looks.py looks at each state for those who need it. Not for: whether the page is right
(e2e/test_page.py).
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.newcomer import local_app
from emulator.run import APP, free_port
from tests.support import browser, sample_tenant
from tests.support.browser import LIST, MANY, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Route

    from emulator.run import Local

FOLDER = APP / ".pictures"


def low(reader: Reader) -> None:
    """Scroll to the table."""
    reader.page.locator("#table-title").evaluate("title => title.scrollIntoView()")


def selected(reader: Reader) -> None:
    low(reader)
    for number in (1, 2, 4):
        reader.rows().nth(number).locator("input").check()


def of_a_cause(reader: Reader) -> None:
    reader.page.locator(".cause-title").nth(1).click()
    low(reader)


def asked(reader: Reader) -> None:
    selected(reader)
    reader.page.locator("#reprocess-selected").click()


def explained(reader: Reader) -> None:
    reader.rows().filter(has_text="Graph refused").first.locator(".row-more").click()


def reprocessed(reader: Reader) -> None:
    """Most are delivered, some refused; nothing is really sent."""
    done = {"outcome": "alreadyDelivered", "state": "delivered", "detail": ""}
    detail = "Graph refused the reprocess: The service is still retrying this request."
    refused = {"problem": "refused", "state": "deliveryFailed", "detail": detail}

    def some(route: Route) -> None:
        ids = route.request.post_data_json["requestIds"]
        results = [{"requestId": one} | (done if n % 3 else refused) for n, one in enumerate(ids)]
        route.fulfill(json={"results": results, "counts": {}, "correlationId": ""})

    reader.page.route(MANY, some)
    reader.page.locator(".cause-do button").first.click()
    reader.page.locator("#ask-yes").click()
    reader.page.locator("#run-close").wait_for()


def under_way(reader: Reader) -> None:
    """A chunk that is never answered, nor sent when the page is closed."""
    reader.context.route(MANY, lambda _: None)
    asked(reader)
    reader.page.locator("#ask-yes").click()


def hovered(reader: Reader) -> None:
    low(reader)
    reader.rows().locator("td.state .two:not(:empty)").first.hover()


def tables(reader: Reader) -> None:
    """The charts as tables, and all else that can be opened."""
    for details in reader.page.locator("details").all():
        details.evaluate("details => { details.open = true }")


def nothing(body: dict[str, Any]) -> None:
    body.update(value=[], counts=dict.fromkeys(body["counts"], 0), nextLink=None)


def never_swept(body: dict[str, Any]) -> None:
    body["lastSweep"] = None


def dry_run(body: dict[str, Any]) -> None:
    body["dryRun"] = True
    body["lastSweep"] |= {"dryRun": True}


def overdue(body: dict[str, Any]) -> None:
    body["sweepOverdue"] = True
    body["lastSweep"]["at"] = "2026-01-01T00:00:00Z"


def not_whole(body: dict[str, Any]) -> None:
    said = (
        "access packages could not be listed: e4b06ce6-0741-47a8-8ce4-2c8218072e8c, the first "
        "with: HTTP 403 UnAuthorized. Give the identity a role on its catalog"
    )
    body["lastSweep"]["problem"] = said
    body |= {"listComplete": False, "detail": "Graph says: The caller is not authorized."}
    body["unlisted"] = ["e4b06ce6-0741-47a8-8ce4-2c8218072e8c"]


def soon() -> str:
    """The next sweep, as in an app whose timer runs."""
    at = datetime.now(UTC) + timedelta(minutes=6, seconds=30)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def press(selector: str) -> Callable[[Reader], None]:
    return lambda reader: reader.page.locator(selector).first.click()


# -- the states --


def listed(
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    act: Callable[[Reader], object] = lambda _: None,
) -> Callable[[Reader], None]:
    """What leads to the list: what is changed of the app's answers, and what the reader does."""

    def changed(body: dict[str, Any]) -> None:
        body["nextSweepAt"] = soon()
        change(body)

    def arrive(reader: Reader) -> None:
        act(reader.change(changed).see())

    return arrive


def wrong_key(reader: Reader) -> None:
    reader.open().give("wrong").page.locator("#key-wrong:not(:empty)").wait_for()


def loading(reader: Reader) -> None:
    reader.page.route(LIST, lambda _: None)
    reader.open().give().page.locator("#loading").wait_for()


def lost_connection(reader: Reader) -> None:
    reader.see().context.set_offline(True)
    reader.page.locator("#refresh").click()
    reader.page.get_by_role("alert").filter(has_text="could not be read").wait_for()


def problem(name: str, status: int, **more: object) -> Callable[[Reader], None]:
    def arrive(reader: Reader) -> None:
        reader.fail(name, status, **more).open().give().page.locator("#problem").wait_for()

    return arrive


# Name: what leads there from an empty window.
STATES: dict[str, Callable[[Reader], object]] = {
    "door": Reader.open,
    "wrong-key": wrong_key,
    "loading": loading,
    "forbidden": problem("forbidden", 403, detail="The caller is known but may not do this."),
    "misconfigured": problem("misconfigured", 500, detail="SWEEP_X should be 1.", instance="1"),
    "throttled": problem("throttled", 503, detail="Graph asks to wait.", retryAfterSeconds=28),
    "lost-connection": lost_connection,
    "list": listed(),
    "table": listed(act=low),
    "selected": listed(act=selected),
    "asked": listed(act=asked),
    "explained": listed(act=explained),
    "hovered": listed(act=hovered),
    "cause": listed(act=of_a_cause),
    "under-way": listed(act=under_way),
    "as-tables": listed(act=tables),
    "filtered": listed(act=press("#closing-tile")),
    "no-match": listed(act=lambda reader: reader.page.fill("#search", "nobody")),
    "nothing": listed(nothing),
    "never-swept": listed(never_swept),
    "dry-run": listed(dry_run),
    "dry-run-asked": listed(dry_run, asked),
    "overdue": listed(overdue),
    "not-whole": listed(not_whole),
    "reprocessed": listed(act=reprocessed),
}
# Those states that are taken in other windows as well.
DARK: dict[str, Any] = {"color_scheme": "dark"}
NARROW: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}
MIDDLE: dict[str, Any] = {"viewport": {"width": 1000, "height": 900}}
WINDOWS = {
    "dark": (DARK, ("list", "table", "explained", "overdue", "not-whole")),
    "narrow": (NARROW, ("list", "overdue", "under-way", "table", "explained")),
    "narrow-dark": (NARROW | DARK, ("list",)),
    "middle": (MIDDLE, ("table",)),
}


def take(browser: Browser, app: Any, name: str, state: str, **options: Any) -> None:
    """Take one picture."""
    with Reader(browser, app, **options) as reader:
        STATES[state](reader)
        reader.page.wait_for_timeout(400)
        reader.page.screenshot(path=FOLDER / f"{name}.png")


def take_all(browser: Browser, app: Any) -> None:
    """Take every state, some in several windows, and the printed page."""
    for state in STATES:
        take(browser, app, state, state)
    for window, (options, states) in WINDOWS.items():
        for state in states:
            take(browser, app, f"{state}-{window}", state, **options)
    with Reader(browser, app) as reader:
        reader.see().page.pdf(path=FOLDER / "printed.pdf", prefer_css_page_size=True)


def newcomer() -> Local:
    """Return what `make run` starts, but silent."""
    local = local_app([], {"PORT": str(free_port()), "GRAPH_PORT": str(free_port())})
    local.echo = False
    return local


def main() -> None:
    """Take them all."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with browser.started() as chromium:
        with newcomer() as app:
            app.sweep()
            with Reader(chromium, app, viewport={"width": 1400, "height": 850}) as reader:
                listed()(reader)
                reader.page.wait_for_timeout(400)
                reader.page.screenshot(path=FOLDER / "report.png")
        with sample_tenant.running(140) as app:
            take_all(chromium, app)
    shutil.copyfile(FOLDER / "report.png", APP / "docs" / "report.png")
    print(f"pictures are in {FOLDER.name}, and docs/report.png")


if __name__ == "__main__":
    main()
