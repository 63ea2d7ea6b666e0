"""Pictures of the page in every state, from the running app: `make pictures`.

All go into .pictures; the README's, docs/report.png, is what `make run` shows. States that an app
in good health does not come into are made by changing its answers on their way to the browser.
Not for: tests; whether the page is right is asked in e2e/test_page.py.
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

    from playwright.sync_api import Browser

    from emulator.run import Local

FOLDER = APP / ".pictures"
NARROW = {"width": 390, "height": 844}
MIDDLE = {"width": 1000, "height": 900}


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
    reader.page.get_by_label("Select all shown").check()
    reader.page.locator("#reprocess-selected").click()


def explained(reader: Reader) -> None:
    reader.rows().filter(has_text="Graph refused").first.locator(".row-more").click()


def reprocessed(reader: Reader) -> None:
    """Most are sent, some refused."""
    ids = reader.page.evaluate(
        "key => fetch('/api/requests?limit=30', {headers: {'x-functions-key': key}})"
        ".then(a => a.json()).then(a => a.value.map(one => one.requestId))",
        reader.app.function_key,
    )
    message = "The service is still retrying this request."
    for one in ids[1:14:2]:
        reader.app.fault("reprocess", "status", requestId=one, status=400, message=message)
    reader.page.locator(".cause-do button").first.click()
    reader.page.locator("#ask-yes").click()
    reader.page.locator("#run-close").wait_for()


def under_way(reader: Reader) -> None:
    """A chunk that is never answered."""
    reader.page.route(MANY, lambda _: None)
    asked(reader)
    reader.page.locator("#ask-yes").click()


def hovered(reader: Reader) -> None:
    low(reader)
    reader.rows().filter(has_text="not found in").first.locator("td.state .two").hover()


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


# Name: what is changed of the app's answers, what the reader does, and in which window.
LISTS: dict[str, tuple[Callable[..., Any] | None, Callable[..., Any] | None, dict[str, Any]]] = {
    "report": (None, None, {"viewport": {"width": 1400, "height": 850}}),
    "dark": (None, None, {"color_scheme": "dark"}),
    "table": (None, low, {}),
    "table-dark": (None, low, {"color_scheme": "dark"}),
    "middle": (None, low, {"viewport": MIDDLE}),
    "narrow": (None, None, {"viewport": NARROW}),
    "narrow-overdue": (overdue, None, {"viewport": NARROW}),
    "narrow-under-way": (None, under_way, {"viewport": NARROW}),
    "narrow-table": (None, low, {"viewport": NARROW}),
    "narrow-dark": (None, low, {"viewport": NARROW, "color_scheme": "dark"}),
    "selected": (None, selected, {}),
    "asked": (None, asked, {}),
    "explained": (None, explained, {}),
    "explained-narrow": (None, explained, {"viewport": NARROW}),
    "explained-dark": (None, explained, {"color_scheme": "dark"}),
    "hovered": (None, hovered, {}),
    "cause": (None, of_a_cause, {}),
    "under-way": (None, under_way, {}),
    "as-tables": (None, lambda r: [s.click() for s in r.page.locator(".charts summary").all()], {}),
    "filtered": (None, press("#closing-tile"), {}),
    "no-match": (None, lambda r: r.page.fill("#search", "nobody"), {}),
    "nothing": (nothing, None, {}),
    "never-swept": (never_swept, None, {}),
    "dry-run": (dry_run, None, {}),
    "dry-run-asked": (dry_run, asked, {}),
    "overdue": (overdue, None, {}),
    "overdue-dark": (overdue, None, {"color_scheme": "dark"}),
    "not-whole": (not_whole, None, {}),
    "not-whole-dark": (not_whole, None, {"color_scheme": "dark"}),
    "reprocessed": (None, reprocessed, {}),
}
PROBLEMS = {
    "forbidden": (403, {"detail": "The caller is known but may not do this."}),
    "misconfigured": (500, {"detail": "HTTP_BUDGET_SECONDS should be 1 to 200.", "instance": "1"}),
    "throttled": (503, {"detail": "Graph asks to wait.", "retryAfterSeconds": 28}),
}


def take(browser: Browser, app: Any, name: str) -> None:
    """Take one picture of the list."""
    change, act, options = LISTS[name]

    def changed(body: dict[str, Any]) -> None:
        body["nextSweepAt"] = soon()
        if change:
            change(body)

    with Reader(browser, app, **options) as reader:
        reader.change(changed)
        reader.see()
        if act:
            act(reader)
        reader.page.wait_for_timeout(400)
        reader.page.screenshot(path=FOLDER / f"{name}.png")


def take_others(browser: Browser, app: Any) -> None:
    """Take those where there is no list: the door, waiting, problems; and the printed page."""
    with Reader(browser, app) as reader:
        reader.open().page.screenshot(path=FOLDER / "door.png")
        reader.give("wrong").page.locator("#key-wrong:not(:empty)").wait_for()
        reader.page.screenshot(path=FOLDER / "wrong-key.png")
        reader.page.route(LIST, lambda _: None)
        reader.give().page.locator("#slow").wait_for()
        reader.page.screenshot(path=FOLDER / "loading.png")
    for name, (status, more) in PROBLEMS.items():
        with Reader(browser, app) as reader:
            reader.fail(name, status, **more).open().give()
            reader.page.locator("#problem").wait_for()
            reader.page.screenshot(path=FOLDER / f"{name}.png")
    with Reader(browser, app) as reader:
        reader.see().page.pdf(path=FOLDER / "printed.pdf", prefer_css_page_size=True)
        reader.context.set_offline(True)
        reader.page.locator("#refresh").click()
        reader.page.get_by_role("alert").filter(has_text="could not be read").wait_for()
        reader.page.screenshot(path=FOLDER / "lost-connection.png")


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
            take(chromium, app, "report")
        with sample_tenant.running(140) as app:
            for name in LISTS.keys() - {"report"}:
                take(chromium, app, name)
            take_others(chromium, app)
    shutil.copyfile(FOLDER / "report.png", APP / "docs" / "report.png")
    print(f"pictures are in {FOLDER.name}, and docs/report.png")


if __name__ == "__main__":
    main()
