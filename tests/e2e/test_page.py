"""The page in a real browser, against the running app and the emulated tenant.

What an app in good health does not do by itself (problems, lost connections, incomplete lists) is
made by changing its answers on their way to the browser: those tests use `change`, `fail` or
`route`, and say so. The app keeps a list for half a minute, so all requests are in the tenant
before the first test. Not for: states and widths (test_page_looks.py).
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.support import sample_tenant
from tests.support.browser import LIST, MANY, Reader
from tests.support.http_calls import APP, ROLE, principal
from tests.support.local_app import ago

COUNT = 140
HOSTILE = {
    "markup": "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>",
    "right to left": "\u202egnp.exe \u05d3\u05e0\u05d9\u05d0\u05dc \u2067\u0645\u0631\u062d\u0628\u0627",
    "emoji": "\U0001f469\u200d\U0001f4bb\U0001f3f4\u200d\u2620\ufe0f Zo\u0308e\u0301",
    "long": ("Hubert Blaine " + "Wolfeschlegelsteinhausenbergerdorff" * 14)[:500],
    "formula": '=HYPERLINK("https://x.example","Adele")',
}
IDS = {name: f"e0000000-0000-4000-8000-0000000000{n:02}" for n, name in enumerate(HOSTILE)}
SINGLE = ("Fay Followed", "Finn Failing", "Rae Refused", "Sid Slow", "Gus Gone")
SINGLE_IDS = {name: f"e0000000-0000-4000-8000-0000000001{n:02}" for n, name in enumerate(SINGLE)}
GROUPS = {"many": 200, "closed": 30}  # requests that one test reprocesses, by their mail


def extra():
    """Requests that single tests are about; each test has its own."""
    common = {
        "accessPackageName": "Legal Hold",
        "accessPackageId": IDS["markup"],
        "completedDateTime": ago(days=2),
        "outcomes": ["delivered"],
    }
    mine = {
        IDS[one]: {"requestorName": name, "requestorEmail": f"{n}@adatum.example", "status": name}
        for n, (one, name) in enumerate(HOSTILE.items())
    }
    mine |= {SINGLE_IDS[name]: {"requestorName": name, "status": f"Of {name}"} for name in SINGLE}
    mine[SINGLE_IDS["Finn Failing"]]["outcomes"] = ["deliveryFailed"]
    mine[SINGLE_IDS["Fay Followed"]] |= {
        "requestType": "adminRemove",
        "completedDateTime": ago(days=13.2),
    }
    for group, count in GROUPS.items():
        for n in range(count):
            one = {"requestorName": f"{group} {n}", "requestorEmail": f"{n}@{group}.example"}
            mine[f"e0000000-0000-4000-8000-{count:06}{n:06}"] = one
    return [common | {"id": one} | fields for one, fields in mine.items()]


@pytest.fixture(scope="module")
def app():
    with sample_tenant.running(COUNT) as running:
        running.put(*extra())
        yield running


@pytest.fixture
def reader(chromium, app):
    with Reader(chromium, app) as reader:
        yield reader
        assert [] == reader.violations()


def listed(app, query="?limit=1000"):
    return app.call("GET", f"/api/requests{query}").body


def in_(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def reprocess(reader, row):
    """Press *Reprocess* in a row and say yes."""
    row.get_by_role("button", name="Reprocess").click()
    reader.page.get_by_role("dialog").get_by_role("button", name="Reprocess").click()


def select(reader, count):
    """Select so many of the rows shown, from the first to the last with the shift key."""
    reader.rows().first.get_by_role("checkbox").click()
    last = reader.page.locator(f'#table tr[aria-rowindex="{count + 1}"]')
    last.get_by_role("checkbox").click(modifiers=["Shift"])


def send(reader, count):
    """Reprocess the first rows that are shown."""
    select(reader, count)
    reader.page.locator("#reprocess-selected").click()
    reader.page.locator("#ask-yes").click()


def answer(ids, **of):
    """The app's answer to a chunk in which all are alike."""
    return {"results": [{"requestId": one, **of} for one in ids], "counts": {}, "correlationId": ""}


def asked_for(route):
    return route.request.post_data_json["requestIds"]


DELIVERED = {"outcome": "alreadyDelivered", "state": "delivered", "detail": ""}


# -- what it shows --


def test_what_matters_comes_first(reader, app):
    """The figures are those of the list, and of the last sweep."""
    body = listed(app)
    soon = [one for one in body["value"] if 0 < one["hoursLeft"] <= 48]
    removals = [one for one in body["value"] if one["removal"]]
    sweep, counts = body["lastSweep"], body["counts"]
    people = counts["exhausted"] + counts["expired"] + counts["excluded"]
    page = reader.see().page

    assert [str(len(body["value"])), str(len(soon)), str(len(removals))] == [
        reader.text(one) for one in ("failing", "closing", "removals")
    ]
    assert "users still have access" == reader.text("removals-more")
    assert f"{counts['due']} due, {counts['cooling']} cooling down" == reader.text("failing-more")
    assert re.fullmatch(r"in \d+ days", reader.text("sweep"))
    assert re.sub(r"\d+ min", "n min", reader.text("sweep-more")) == (
        f"Last: n minutes ago. Of {sweep['due']} due: {sweep['accepted']} accepted, "
        f"{sweep['refused']} refused. {sweep['delivered']} delivered since the one before."
    )
    page.get_by_role("button", name=f"{people} need a person").click()
    expect(page.locator("#shown")).to_contain_text(f"{people} of {len(body['value'])} requests")


def test_causes_come_first_and_are_filters(reader, app):
    """Each with how many, on what it rests, its next window, and the portal; most first."""
    body = listed(app)
    page = reader.see().page
    place, first = next(one for one in enumerate(body["causes"]) if one[1]["kind"] == "graph")
    shown = page.locator("#causes .cause").nth(place)
    open_ones = [
        one for one in body["value"] if one["causeId"] == first["causeId"] and one["hoursLeft"] > 0
    ]

    assert [str(one["count"]) for one in body["causes"][:5]] == page.locator(
        ".cause-count strong"
    ).all_inner_texts()
    expect(shown).to_contain_text(first["cause"])
    expect(shown).to_contain_text("Graph gives this reason; last")
    said = f"{first['accessPackages']} packages, {first['requestors']} users"
    expect(shown).to_contain_text(said)
    expect(shown.get_by_role("button", name=f"Reprocess these {len(open_ones)}")).to_be_visible()
    expect(shown.get_by_role("link")).to_have_attribute("href", body["portalUrl"])
    page.get_by_role("button", name=f"Show all {len(body['causes'])}").click()
    expect(page.locator("#causes .cause")).to_have_count(len(body["causes"]))
    shown.locator(".cause-title").click()
    expect(page.locator("#shown")).to_contain_text(f"{first['count']} of ")
    expect(page).to_have_url(re.compile(f"#cause={first['causeId']}$"))
    page.locator("#by-cause").click()
    expect(page.locator("#shown")).to_contain_text("in the sweep's order")


def test_rows_come_in_the_sweeps_order_with_what_is_known_of_each(reader, app):
    """Up to 500 are all in the page, so that the browser finds in them."""
    rows = listed(app)["value"]
    reader.see()
    row = reader.rows().first

    assert reader.rows().locator(".row-more").all_inner_texts() == [
        one.get("requestorName", one.get("requestorEmail")) for one in rows
    ]
    assert (True, "expired") == (rows[0]["removal"], rows[-1]["plan"])
    expect(row).to_contain_text("Removaluser still has access")
    expect(row).to_contain_text(re.compile(r"\d+ (days|hours) left"))
    expect(row.locator("td.attempts")).to_have_text(str(rows[0]["attempts"]))
    expect(row.locator("td.next")).to_have_text("next sweep")
    expect(row.locator("td.plan")).to_have_text("Due")


def test_charts_are_tables_too_and_packages_are_filters(reader, app):
    """Each chart's table has every request once."""
    body = listed(app)
    reader.see()
    for chart in ("days", "packages"):
        reader.page.locator(f"#{chart} summary").click()
        cells = reader.page.locator(f"#{chart} td:nth-child(2)").all_inner_texts()

        assert len(body["value"]) == sum(map(int, cells))
    drawn = reader.page.locator("#days .day b").all_inner_texts()

    assert len([one for one in body["value"] if one["hoursLeft"] > 0]) == sum(
        int(one) for one in drawn if one
    )
    name = "Partner Portal"
    reader.page.locator("#packages").get_by_role("button", name=name).click()
    fitting = [one for one in body["value"] if one.get("accessPackageName") == name]
    assert f"{len(fitting)} of {len(body['value'])} requests shown" in reader.text("shown")
    assert {name} == set(reader.rows().locator("td.package .one").all_inner_texts())


def test_search_filters_and_order_live_in_the_address(reader):
    """Who opens the same address sees the same rows; what is no column orders nothing."""
    page = reader.see("#sort=__proto__&plan=constructor").page
    expect(page.locator("#shown")).to_contain_text("in the sweep's order")
    page.locator("#search").fill("contoso")
    page.get_by_role("button", name="Cooling down").click()
    page.locator("#type").select_option(label="Not removals")
    page.locator("#table thead").get_by_role("button", name="Time left").click()
    expect(page.locator("#table th.left")).to_have_attribute("aria-sort", "ascending")
    expect(page).to_have_url(re.compile("#search=contoso&plan=cooling&type=add&sort=left$"))
    rows, shown = reader.rows().locator(".row-more").all_inner_texts(), reader.text("shown")
    page.reload()
    reader.give()
    expect(page.locator("#shown")).to_have_text(shown)

    assert rows == reader.rows().locator(".row-more").all_inner_texts()
    page.get_by_role("button", name="Clear filters").click()
    expect(page).to_have_url(re.compile("report#sort=left$"))


def test_all_about_one_request_is_a_click_away(reader, app):
    """Its history with who asked and Graph's words, ids to copy, and the portal."""
    refused = (one for one in listed(app)["value"] if len(one["history"]) > 1)
    one = next(one for one in refused if one["history"][0]["outcome"] == "refused")
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = reader.see(f"#search={one['requestId']}").page
    reader.rows().first.locator(".row-more").click()

    expect(page.locator("#more-facts")).to_contain_text(one["requestorEmail"])
    attempts = page.locator("#more-attempts li")
    expect(attempts.nth(0)).to_contain_text(f"Graph refused it · sweep{sample_tenant.REFUSAL}")
    expect(attempts.nth(1)).to_contain_text("Graph accepted it · function key")
    expect(page.locator("#more-portal")).to_have_attribute("href", listed(app)["portalUrl"])
    page.get_by_role("button", name="Copy the request id").click()
    expect(page.get_by_role("button", name="Copy the request id")).to_have_text("Copied")
    assert one["requestId"] == page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("Escape")
    expect(reader.rows().first.locator(".row-more")).to_be_focused()


def test_the_file_is_the_view(reader):
    """Exactly the rows shown, in their order; formulas are text; its name has time and zone."""
    page = reader.see("#search=adatum&type=add&sort=-who").page
    shown = reader.rows().locator(".row-more").all_inner_texts()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    text = saved.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))

    assert set(HOSTILE.values()) == set(shown)
    assert [f"'{one}" if one[0] in "=\u202e" else one for one in shown] == [
        row["requestorName"] for row in rows
    ]
    assert {"cause", "firstFailedAt", "plan"} <= rows[0].keys()
    assert re.fullmatch(
        r"failed-requests-\d{4}-\d\d-\d\dT\d{4}[+-]\d{4}-filtered\.csv",
        saved.value.suggested_filename,
    )


def test_paper_is_the_view(reader, tmp_path):
    """All rows of it, and when it was, in which zone, and what was chosen."""
    page = reader.see("#search=contoso&plan=cooling").page
    page.evaluate(
        "addEventListener('beforeprint', () => { window.printed = ["
        " document.querySelectorAll('#table tbody tr').length,"
        " document.getElementById('paper').textContent] })"
    )
    page.pdf(path=tmp_path / "printed.pdf", prefer_css_page_size=True)
    rows, head = page.evaluate("window.printed")

    assert rows == reader.rows().count()
    assert re.fullmatch(
        r"As of \d+ \w+ \d{4}, \d\d:\d\d:\d\d (UTC|GMT.*) \(.+\)\. \d+ of \d+ requests shown\. "
        r"Chosen: search: contoso; plan: Cooling down\.",
        head,
    )


# -- reprocess --


def test_a_delivered_request_leaves_counts_red_and_plan_at_once(reader, app):
    """It is followed until it is delivered; the call says that it comes from our own page."""
    app.control("PATCH", "settings", {"deliverySeconds": 1})
    calls = []
    reader.page.on("request", lambda call: calls.append(call))  # noqa: PLW0108 - Playwright marks its listeners
    page = reader.see(f"#search={SINGLE_IDS['Fay Followed']}").page
    before = {one: int(reader.text(one)) for one in ("failing", "closing", "removals")}
    reprocess(reader, reader.row("Fay Followed"))
    expect(page.locator("#run-list li li")).to_contain_text("Delivered")
    app.control("PATCH", "settings", {"deliverySeconds": 0.3})

    row = reader.row("Fay Followed")
    expect(row.locator("td.state")).to_contain_text("Delivered")
    assert {one: n - 1 for one, n in before.items()} == {
        one: int(reader.text(one)) for one in before
    }
    assert ["", ""] == [row.locator(f"td.{one}").inner_text() for one in ("plan", "left")]
    expect(row.locator(".removal, .soon")).to_have_count(0)
    cause = page.locator(".cause", has_text="Of Fay Followed")
    expect(cause.locator(".cause-count")).to_contain_text("0")  # stays while its run is shown
    [post] = [call for call in calls if call.method == "POST"]
    sent = post.all_headers()
    assert (app.url, f"{app.url}/api/report") == (sent["origin"], sent["referer"])
    polls = [call for call in calls if "/api/status?" in call.url]
    assert {None} == {poll.all_headers().get("x-functions-key") for poll in polls}
    expect(page.locator("#live")).to_contain_text("Done: 1 sent")
    page.locator("#run-close").click()
    expect(row).to_have_count(0)
    expect(cause).to_have_count(0)


def test_problems_are_said_in_plain_words(reader, app):
    """One fails again, Graph refuses another; in the panel and in the row, which can be retried."""
    said = "The group is mastered on-premises"
    one = SINGLE_IDS["Rae Refused"]
    # In another second than it was accepted.
    app.control("PATCH", "settings", {"deliverySeconds": 1.5})
    app.fault("reprocess", "status", requestId=one, status=400, message=f"{said}.")
    page = reader.see().page
    for name, words in (("Finn Failing", "Failed again"), ("Rae Refused", f"Graph says: {said}")):
        page.locator("#search").fill(SINGLE_IDS[name])
        reprocess(reader, reader.row(name))
        expect(page.locator("#run-list li li", has_text=name)).to_contain_text(words)
        expect(reader.row(name).locator("td.state")).to_contain_text(words)
        expect(reader.row(name).get_by_role("button", name="Reprocess")).to_be_enabled()


def test_two_hundred_in_two_chunks_with_some_refused(reader, app):
    """Problems first; the refused ones once more as a group; nothing is sent twice otherwise.

    The list that is read afterwards is made: the app keeps the old one for half a minute.
    """
    rows = [one for one in listed(app)["value"] if "@many." in one.get("requestorEmail", "")]
    refused = [one["requestId"] for one in rows[3:103:10]]
    for one in refused:
        app.fault("reprocess", "status", requestId=one, status=400, message="Still retrying.")
    app.control("DELETE", "log")
    reader.page.clock.install()
    page = reader.see("#search=@many.").page
    chunks = []
    page.on("request", lambda call: call.method == "POST" and chunks.append(call.post_data_json))
    send(reader, 200)
    expect(page.locator("#run-title")).to_have_text("190 sent, 10 with a problem")

    assert [20, 180] == [len(one["requestIds"]) for one in chunks]
    sent = [entry["requestId"] for entry in app.calls("reprocess")]
    assert (200, set(refused)) == (len(set(sent)), set(refused) & set(sent))
    heads = page.locator("#run-list h3").all_inner_texts()
    assert ["With a problem (10)", "Sent (190)"] == heads
    expect(page.locator("#run-list li li").first).to_contain_text("Graph says: Still retrying")
    page.get_by_role("button", name="Again for the 10 that were refused").click()
    expect(page.locator("#run-title")).to_have_text("200 sent")
    assert set(refused) == set(chunks[2]["requestIds"])
    left = []

    def delivered(body):
        rows = [one for one in body["value"] if "@many." not in one.get("requestorEmail", "")]
        body.update(asOf=in_(seconds=9), value=rows)
        left.append(len(rows))

    reader.change(delivered)
    expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
    page.clock.run_for(60_000)
    expect(page.locator("#run-counts")).to_contain_text("200 of these no longer fail")
    assert str(left[-1]) == reader.text("failing")
    page.locator("#run-close").click()
    expect(page.locator("#shown")).to_contain_text(f"0 of {left[-1]} requests shown")


def stopped(reader, count):
    """Send so many rows, and press *Stop* while the first chunk is held back; return that."""
    held = []
    reader.page.route(MANY, lambda route: held.append(route))  # noqa: PLW0108
    reader.see()
    send(reader, count)
    expect(reader.page.locator("#run-list li.sending")).to_have_count(20)
    reader.page.get_by_role("button", name="Stop", exact=True).click()
    return held


def test_stop_between_two_chunks_and_send_the_rest(reader):
    """What was sent is finished. The answers are made here, the first one is held back."""
    page, held = reader.page, stopped(reader, 91)
    held[0].fulfill(json=answer(asked_for(held[0]), **DELIVERED))
    expect(page.locator("#run-title")).to_have_text("20 sent, 71 not sent")
    assert 1 == len(held)
    page.unroute(MANY)
    page.route(MANY, lambda route: route.fulfill(json=answer(asked_for(route), **DELIVERED)))
    page.get_by_role("button", name="Send the rest (71)").click()
    expect(page.locator("#run-title")).to_have_text("91 sent")


def test_a_stopped_chunk_whose_answer_is_lost_is_not_sent_again(reader):
    """The answers are made here: the connection breaks after *Stop*."""
    page, held = reader.page, stopped(reader, 21)
    held[0].abort()
    expect(page.locator("#run-title")).to_have_text("21 not sent")
    expect(page.locator("#run-list li li").first).to_contain_text("It may have this already")


def test_a_dry_run_does_not_bind_it_and_what_is_left_is_said(reader):
    """Made answers: some are left to the next sweep, for some there was no time."""

    def some(route):
        ids = asked_for(route)
        left, rest = {"outcome": "deferred"}, {"outcome": "notSent"}
        parts = ((ids[:2], DELIVERED), (ids[2:4], left), (ids[4:], rest))
        results = [one for part, of in parts for one in answer(part, **of)["results"]]
        route.fulfill(json={"results": results})

    reader.page.route(MANY, some)
    page = reader.change(lambda body: body.update(dryRun=True)).see("#plan=cooling").page
    select(reader, 7)
    page.locator("#reprocess-selected").click()
    expect(page.locator("#ask-dry")).to_have_text(
        "Sweeps are in dry run (SWEEP_DRY_RUN). That does not bind this: it is really sent."
    )
    page.locator("#ask-yes").click()
    expect(page.locator("#run-title")).to_have_text("2 sent, 2 left to the next sweep, 3 not sent")


def test_a_wait_that_graph_asks_for_is_kept(reader):
    """The answers are made here, and the clock is turned on."""
    sent = []

    def throttled(route):
        sent.append(route)
        if len(sent) > 1:
            return route.fulfill(json=answer(asked_for(route), **DELIVERED))
        body = {"type": "urn:redeliver:problem:throttled", "retryAfterSeconds": 30}
        return route.fulfill(status=503, content_type="application/problem+json", json=body)

    page = reader.page
    page.clock.install()
    page.route(MANY, throttled)
    reader.see("#plan=cooling")
    send(reader, 9)
    expect(page.locator("#run-wait")).to_have_text("Graph asks to wait. Goes on in 30 seconds.")
    page.clock.run_for(20_000)
    assert 1 == len(sent)
    page.clock.run_for(10_500)
    expect(page.locator("#run-title")).to_have_text("9 sent")
    assert asked_for(sent[0]) == asked_for(sent[1])


def test_a_chunk_is_finished_when_its_tab_is_closed(chromium, app):
    """The app has it by then; the browser asks first, since a second chunk would be lost."""
    app.control("PATCH", "settings", {"latencyMs": 400})
    app.control("DELETE", "log")
    with Reader(chromium, app) as reader:
        page = reader.see("#search=@closed.").page
        asked = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        with page.expect_request(MANY):
            send(reader, 30)
        page.close(run_before_unload=True)
        while not page.is_closed():
            reader.context.new_page().close()
    for _ in range(200):
        if len(app.calls("reprocess")) >= 20:
            break
        listed(app)
    app.control("PATCH", "settings", {"latencyMs": 0})

    assert ["beforeunload"] == asked
    assert 20 == len(app.calls("reprocess"))


# -- the list stays true --


def test_a_sweep_ends_beside_an_open_page(reader):
    """A minute after it was due the list is read; the place in it is kept. A hidden tab waits."""
    bodies = []

    def swept(body):
        bodies.append(body)
        body["nextSweepAt"] = in_(minutes=5) if len(bodies) == 1 else in_(minutes=30)
        if len(bodies) > 1:
            body["value"] = bodies[0]["value"][40:]

    page = reader.page
    page.clock.install()
    reader.change(swept).see()
    total = int(reader.text("failing"))
    anchor = reader.rows().nth(100)
    name = anchor.locator(".row-more").inner_text()
    contact = anchor.locator(".two").first.inner_text()
    anchor.evaluate(
        "row => scrollBy({top: row.getBoundingClientRect().top - 40, behavior: 'instant'})"
    )
    before = anchor.bounding_box()["y"]
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(7 * 60_000)
    assert 1 == len(bodies)
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#failing")).to_have_text(str(total - 40))
    expect(page.locator("#live")).to_have_text("List read again: 0 more, 40 fewer")
    moved = page.locator("#table tbody tr", has_text=contact).filter(has_text=name).first
    assert abs(before - moved.bounding_box()["y"]) < 2
    page.clock.run_for(9 * 60_000)
    assert 2 == len(bodies)
    with page.expect_response(LIST):
        page.clock.run_for(2 * 60_000)  # ten minutes after the last reading


SWEEP = {"at": ago(hours=3), "dryRun": False, "due": 3, "accepted": 2, "failed": 1, "postponed": 0}
SWEEPS = {
    "never": ({"lastSweep": None}, "", "in 5 minutes", "No sweep has ended yet."),
    "dry": (
        {"dryRun": True, "lastSweep": SWEEP | {"dryRun": True}},
        "Dry run",
        "in 5 minutes",
        "Sweeps only look: nothing is reprocessed by itself",
    ),
    "overdue": ({"sweepOverdue": True}, "Overdue", "none for 3 hours", "no sweep has ended since"),
    "not scheduled": ({"nextSweepAt": None}, "Not scheduled", "none", "look at SWEEP_SCHEDULE"),
    "stopped": (
        {"lastSweep": SWEEP | {"problem": "Graph denied three calls in a row"}},
        "Had a problem",
        "in 5 minutes",
        "Of 3 due: 2 accepted, 1 failed.",
    ),
    "well": ({}, "", "in 5 minutes", "Of 3 due: 2 accepted, 1 failed."),
}


def test_dry_overdue_and_stopped_sweeps_are_said_where_the_next_one_stands(reader):
    """With a warning that cannot be overlooked. Made lists, one after the other."""
    states = iter([changed for changed, *_ in SWEEPS.values()])
    base = {"nextSweepAt": in_(minutes=5, seconds=50), "lastSweep": SWEEP}
    page = reader.change(lambda body: body.update(base | next(states))).see().page
    for name, (_, tag, when, what) in SWEEPS.items():
        expect(page.locator("#sweep-tag")).to_have_text(tag)
        expect(page.locator("#sweep")).to_have_text(when)
        expect(page.locator("#sweep-more")).to_contain_text(what)
        assert bool(tag) == ("warning" in page.locator("#sweep-tile").get_attribute("class"))
        if name != "well":
            page.get_by_role("button", name="Refresh").click()


def test_a_minute_offline_is_one_banner(reader):
    """The browser is taken off the network here; its clock is turned on."""
    page = reader.page
    page.clock.install()
    reader.see().context.set_offline(True)
    page.get_by_role("button", name="Refresh").click()
    for _ in range(6):
        page.clock.run_for(10_000)
        expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
    alerts = page.get_by_role("alert").filter(has_text="could not be read")
    expect(alerts).to_have_count(1)
    expect(alerts).to_contain_text("The app cannot be reached.")
    expect(reader.rows().first).to_be_visible()
    reader.context.set_offline(False)
    expect(alerts).to_have_count(0)


def test_a_lost_connection_holds_up_a_run_until_it_is_back(reader):
    """Then it is sent. The browser is taken off the network here, and its clock turned on."""
    page = reader.page
    page.clock.install()
    reader.see(f"#search={SINGLE_IDS['Sid Slow']}")
    reader.context.set_offline(True)
    reprocess(reader, reader.row("Sid Slow"))
    expect(page.locator("#run-wait")).to_contain_text("The app cannot be reached.")
    reader.context.set_offline(False)
    page.clock.run_for(3_100)
    expect(page.locator("#run-wait")).to_be_hidden()
    expect(page.locator("#run-list li li")).to_contain_text("Accepted, on its way")
    page.clock.run_for(2_100)
    expect(page.locator("#run-list li li")).to_contain_text("Delivered")


# -- who may see it --


def test_a_wrong_key_is_said_and_the_right_one_opens(reader):
    """Only the way in that works is offered."""
    page = reader.open().page
    expect(page.locator("#sign-in")).to_be_hidden()
    reader.give("wrong")
    expect(page.locator("#key-wrong")).to_have_text("The app did not accept this key.")
    expect(page.locator("#key")).to_be_focused()
    expect(page.locator("#key")).to_have_value("")
    reader.give()
    expect(page.locator("#list")).to_be_visible()


def test_the_key_is_nowhere_but_in_the_calls(reader, app):
    """Not in an address, the history, a storage or the page; *Sign out* forgets it."""
    urls = []
    reader.page.on("request", lambda call: urls.append(call.url))
    page = reader.see("#plan=due").page
    page.locator("#search").fill("adele")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#shown")).to_contain_text("shown")
    devtools = reader.context.new_cdp_session(page)
    history = devtools.send("Page.getNavigationHistory")
    inside = page.evaluate("""async () => [document.documentElement.outerHTML, document.title,
        JSON.stringify([...document.querySelectorAll("input")].map((one) => one.value)),
        JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie,
        JSON.stringify(history.state), JSON.stringify(await indexedDB.databases()),
        JSON.stringify(await caches.keys()), name].join()""")

    assert app.function_key not in str([urls, history, inside, reader.context.storage_state()])
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#door")).to_be_visible()
    expect(reader.rows()).to_have_count(0)
    expect(page.locator("#causes li")).to_have_count(0)
    page.reload()
    expect(page.locator("#door")).to_be_visible()


def test_a_list_that_is_on_its_way_at_sign_out_is_not_shown(reader):
    """Whoever comes next may be somebody else; nor does it keep the next key from being used."""
    held = []
    page = reader.see().page
    page.route(LIST, lambda route: held.append((route, route.fetch())))
    page.get_by_role("button", name="Refresh").click()
    while not held:
        page.wait_for_timeout(10)
    page.get_by_role("button", name="Sign out").click()
    for route, of_app in held:
        route.fulfill(response=of_app)
    page.unroute(LIST)

    page.wait_for_timeout(200)
    expect(page.locator("#door")).to_be_visible()
    expect(reader.rows()).to_have_count(0)
    reader.give()
    expect(page.locator("#list")).to_be_visible()


USER = (("oid", APP), ("scp", "user_impersonation"))


def test_a_key_in_the_address_leaves_it_and_counts_in_the_fragment_only(reader, app):
    """The portal gives out addresses with `?code=`; a fragment, as `make run` prints, no server sees."""
    page = reader.page
    page.goto(f"{app.url}/api/report?code={app.function_key}#plan=due")
    expect(page.locator("#door")).to_be_visible()
    assert f"{app.url}/api/report#plan=due" == page.url
    page.goto("about:blank")
    page.goto(f"{app.url}/api/report#key={app.function_key}")
    expect(page.locator("#table-title")).to_be_visible()
    assert app.function_key not in page.url


def test_a_key_in_the_fragment_counts_on_this_machine_only(reader, app):
    """On any other host it is removed and not used."""
    page, host = reader.page, "http://redeliver.example"
    page.route(f"{host}/**", lambda route: route.fulfill(
        response=route.fetch(url=route.request.url.replace(host, app.url))
    ))  # fmt: skip
    page.goto(f"{host}/api/report#key={app.function_key}")

    expect(page.locator("#door-title")).to_be_visible()
    assert app.function_key not in page.url


def test_a_session_opens_the_list_and_the_view_is_kept_while_signing_in(chromium, guarded):
    """App Service authentication says who it is, by a cookie; here by the header that it adds."""
    with Reader(chromium, guarded) as reader:
        page = reader.open("#plan=due").page
        expect(page.get_by_label("Function key")).to_be_hidden()
        page.route("**/.auth/login/aad?*", lambda route: route.fulfill(body="signing in"))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Freport")
        reader.context.set_extra_http_headers(principal(*USER, ("roles", ROLE)))
        page.goto(f"{guarded.url}/api/report")
        expect(page.locator("#list")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        assert page.url.endswith("/api/report#plan=due")
        reader.context.set_extra_http_headers(principal(*USER))
        page.reload()
        expect(page.locator("#problem-title")).to_have_text("You may not do this")
        with page.expect_request("**/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Freport"):
            page.get_by_role("button", name="Sign in again").click()


def test_where_nobody_can_sign_in_the_page_says_so(chromium, unguarded):
    with Reader(chromium, unguarded) as reader:
        expect(reader.open().page.locator("#by-none")).to_contain_text("has to turn it on")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_sites_page_cannot_reprocess(chromium, guarded, host):
    """Cross-site, and same-site from another port, with the reader's session: Graph is not called."""
    user = principal(*USER, ("roles", ROLE))
    [one] = guarded.failures(1)
    with Reader(chromium, guarded, extra_http_headers=user) as reader:
        reader.page.goto(f"http://{host}:{guarded.graph_port}/")
        with reader.page.expect_response("**/reprocess") as said:
            reader.page.evaluate(
                "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body,"
                " credentials: 'include'}).catch(() => 0)",
                [f"{guarded.url}/api/requests/reprocess", f'{{"requestIds": ["{one}"]}}'],
            )

    assert 403 == said.value.status
    assert [] == guarded.calls("reprocess")


# -- hostile names --


def test_hostile_names_are_text(reader):
    """In causes, rows, dialogs, history and panel; no row is higher or wider for it."""

    def hostile(body):
        for one in body["value"]:
            if "adatum" in one.get("requestorEmail", ""):
                by = one["requestorName"]
                one["history"] = [{"at": ago(hours=1), "by": by, "outcome": "refused", "words": by}]

    page = reader.change(hostile).see("#search=adatum").page
    page.locator("#causes-more").click()
    for name in HOSTILE.values():
        more = page.locator("#table .row-more").filter(has_text=name)
        expect(more).to_have_text(name)
        more.click()
        expect(page.locator("#more-title")).to_have_text(name)
        expect(page.locator("#more-attempts li")).to_contain_text(name)
        page.locator("#more-reprocess").click()
        expect(page.locator("#ask-whom")).to_contain_text(name)
        page.keyboard.press("Escape")
    causes = " ".join(page.locator(".cause-title").all_inner_texts())
    assert HOSTILE["emoji"] in causes
    assert "<script>window.hacked = 1</script>" in causes
    page.route(MANY, lambda route: route.fulfill(json=answer(asked_for(route), **DELIVERED)))
    page.get_by_label("Select all shown").check()
    page.locator("#reprocess-selected").click()
    page.locator("#ask-yes").click()
    for name in HOSTILE.values():
        expect(page.locator("#run-list li li").filter(has_text=name)).to_contain_text("delivered")
    rows = page.locator("#table tbody tr")
    heights = {round(rows.nth(n).bounding_box()["height"], 2) for n in range(rows.count())}

    assert page.evaluate("window.hacked") is None
    assert 1 == len(heights)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


# -- states that are made here --


def test_no_failed_deliveries_and_nothing_that_fits(reader):
    """Made lists: empty charts are not shown, and while Graph is slow the page says so."""
    page = reader.see("#search=nobody").page
    page.get_by_text("No failed request fits these filters.").wait_for()
    expect(page.get_by_role("button", name="Clear filters")).to_be_visible()
    reader.change(lambda b: b.update(value=[], causes=[], counts={}))
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("heading", name="No failed deliveries")).to_be_visible()
    expect(page.locator("#some")).to_be_hidden()
    page.unroute(LIST)
    page.clock.install()
    page.route(LIST, lambda _: None)
    page.get_by_role("button", name="Sign out").click()
    reader.give()
    expect(page.locator("#loading")).to_be_visible()
    page.clock.run_for(5_500)
    expect(page.locator("#slow")).to_be_visible()


def test_an_incomplete_list_says_so(reader):
    """Made lists: Graph did not give all of it; then the second page is a problem."""
    detail, missing = "Graph says: The caller is not authorized.", [IDS["long"]]
    incomplete = {"listComplete": False, "detail": detail, "unlisted": missing}
    incomplete["lastSweep"] = SWEEP | {"problem": "the table could not be written"}
    page = reader.change(lambda body: body.update(incomplete)).see().page
    said = "Graph did not give all of it."
    assert [
        "The last sweep had a problem: the table could not be written",
        f"This list is incomplete: {said} {detail} Missing: access package {IDS['long']}.",
    ] == page.locator("#notes p").all_inner_texts()
    page.unroute(LIST)
    page.get_by_role("button", name="Sign out").click()
    reader.change(lambda body: body.update(nextLink=f"{reader.app.url}/api/requests?after=x"))
    reader.fail("graph-timeout", 504, "**/api/requests?after=*").give()
    expect(page.locator("#broken")).to_contain_text(
        re.compile(r"Graph gave no answer in time\. .* Only \d+ of \d+ were read\.")
    )
    assert reader.text("closing").endswith("+")


PROBLEMS = {
    "misconfigured": (500, "The app is misconfigured"),
    "throttled": (503, "Graph asks to wait"),
}


def test_a_problem_is_said_in_words(reader):
    """The answers are made here: title, the app's own detail, and where to look in the log."""
    page = reader.open().page
    for name, (status, title) in PROBLEMS.items():
        reader.fail(name, status, detail=f"What {name} is.", instance="run-1")
        if name == "misconfigured":
            reader.give()
        else:
            page.locator("#again").click()
        expect(page.locator("#problem-title")).to_have_text(title)
        expect(page.locator("#problem-title")).to_be_focused()
        assert f"What {name} is." == reader.text("problem-detail")
        assert "Correlation id in the app's log: run-1" == reader.text("problem-instance")
        page.unroute(LIST)


def test_five_thousand_rows_scroll_filter_and_run(reader):
    """Made of the real ones: only those in view are in the page, no frame is long."""

    def many(body):
        rows = body["value"]
        body["value"] = [
            rows[n % len(rows)] | {"requestId": f"f0000000-0000-4000-8000-{n:012}"}
            for n in range(5000)
        ]

    page = reader.change(many).see().page
    page.route(MANY, lambda route: route.fulfill(json=answer(asked_for(route), **DELIVERED)))
    expect(page.locator("#table")).to_have_attribute("aria-rowcount", "5001")
    page.locator("#search").press_sequentially("adele", delay=40)
    expect(page.locator("#shown")).to_contain_text("of 5,000 requests shown")
    page.locator("#search").fill("")
    expect(page.locator("#shown")).to_have_text("5,000 requests, in the sweep's order")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator('#table tr[aria-rowindex="5001"]')).to_be_visible()
    assert 60 > reader.rows().count()
    page.locator(".cause-do button").first.click()
    page.locator("#ask-yes").click()
    expect(page.locator("#run-title")).to_contain_text(" sent")
    expect(page.locator("#run-close")).to_be_visible()
