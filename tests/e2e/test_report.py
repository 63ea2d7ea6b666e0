"""The page in a real browser, against the running app and the emulated tenant.

What an app in good health does not do by itself (problems, lost connections, lists that are not
whole) is made by changing its answers on their way to the browser: those tests use `change`, `fail`
or `route`, and say so. Whoever asks within half a minute gets the same list, so all requests are in
the tenant before the first test.
"""

from __future__ import annotations

import csv
import io
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests import browser, lived_in
from tests.browser import LIST, Reader
from tests.calls import APP, ROLE, principal
from tests.local_app import ago

COUNT = 300
HOSTILE = {
    "markup": "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>",
    "right to left": "\u202egnp.exe \u05d3\u05e0\u05d9\u05d0\u05dc \u2067\u0645\u0631\u062d\u0628\u0627",
    "emoji": "\U0001f469\u200d\U0001f4bb\U0001f3f4\u200d\u2620\ufe0f Zo\u0308e\u0301",
    "long": ("Hubert Blaine " + "Wolfeschlegelsteinhausenbergerdorff" * 14)[:500],
    "formula": '=HYPERLINK("https://x.example","Adele")',
}
IDS = {name: f"e0000000-0000-4000-8000-0000000000{n:02}" for n, name in enumerate(HOSTILE)}
FOLLOWED, FAILING, REFUSED, SLOW = (f"e0000000-0000-4000-8000-0000000001{n:02}" for n in range(4))
NARROW = {"width": 390, "height": 844}
FRAMES = """
  window.longest = 0;
  let last = performance.now();
  const frame = (now) => {
    window.longest = Math.max(window.longest, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
"""


def extra():
    """Requests that single tests are about; each test has its own."""
    common = {"accessPackageName": "Legal Hold", "accessPackageId": IDS["markup"]}
    named = [
        {"id": IDS[one], "requestorName": name, "requestorEmail": f"{n}@adatum.example"}
        for n, (one, name) in enumerate(HOSTILE.items())
    ]
    single = {FOLLOWED: "Fay Followed", FAILING: "Finn Failing", REFUSED: "Rae Refused"}
    single[SLOW] = "Sid Slow"
    named += [
        {
            "id": one,
            "requestorName": name,
            "requestorEmail": f"{name.split()[0].lower()}@adatum.example",
            "outcomes": ["deliveryFailed" if one == FAILING else "delivered"],
        }
        for one, name in single.items()
    ]
    return [common | {"completedDateTime": ago(days=2)} | one for one in named]


@pytest.fixture(scope="module")
def app():
    with lived_in.running(COUNT) as running:
        running.put(*extra())
        yield running


@pytest.fixture(scope="module")
def chromium():
    with browser.started() as started:
        yield started


@pytest.fixture
def reader(chromium, app):
    with Reader(chromium, app) as reader:
        yield reader
        assert [] == reader.violations()


def listed(app, query="?limit=1000"):
    return app.call("GET", f"/api/requests{query}").body


def reprocess(reader, row):
    """Press *Reprocess* in a row and say yes."""
    row.get_by_role("button", name="Reprocess").click()
    reader.page.get_by_role("dialog").get_by_role("button", name="Reprocess").click()


def select(reader, count):
    """Select so many of the rows shown, from the first to the last with the shift key."""
    reader.rows().first.get_by_role("checkbox").click()
    height = reader.rows().first.bounding_box()["height"]
    reader.page.evaluate("by => scrollBy(0, by)", height * (count - 5))
    last = reader.page.locator(f'#table tr[aria-rowindex="{count + 1}"]')
    last.get_by_role("checkbox").click(modifiers=["Shift"])


# -- what it shows --


def test_what_matters_comes_first(reader, app):
    """The figures are those of the list, and of the last sweep."""
    body = listed(app)
    soon = [one for one in body["value"] if 0 < one["hoursLeft"] <= 48]
    removals = [one for one in body["value"] if one["removal"]]
    sweep, counts = body["lastSweep"], body["counts"]
    reader.see()

    assert [str(len(body["value"])), str(len(soon)), str(len(removals))] == [
        reader.text(one) for one in ("failing", "closing", "removals")
    ]
    assert "somebody still has access" == reader.text("removals-more")
    assert reader.text("failing-more").startswith(f"{counts['due']} due, {counts['cooling']} cool")
    assert re.fullmatch(r"\d+ minutes ago", reader.text("sweep"))
    assert reader.text("sweep-more") == (
        f"Of {sweep['due']} due: {sweep['accepted']} accepted, {sweep['refused']} refused. "
        f"{sweep['delivered']} delivered since the one before."
    )


def test_rows_come_in_the_sweeps_order_with_what_is_known_of_each(reader, app):
    rows = listed(app)["value"]
    first, last = rows[0], rows[-1]
    reader.see()
    row = reader.rows().first
    shown = reader.rows().locator(".row-more").all_inner_texts()

    assert shown == [one.get("requestorName", one["requestorEmail"]) for one in rows[: len(shown)]]
    assert (True, "expired") == (first["removal"], last["plan"])
    expect(row).to_contain_text(first["requestorEmail"])
    expect(row).to_contain_text("Removalsomebody still has access")
    expect(row).to_contain_text(re.compile(r"\d+ (days|hours) left"))
    expect(row.locator("td.attempts")).to_have_text(str(first["attempts"]))
    expect(row.locator("td.next")).to_have_text("next sweep")
    expect(row.locator("td.plan")).to_have_text("Due")


def test_charts_are_tables_too(reader, app):
    """Each chart's table has every request once."""
    total = len(listed(app)["value"])
    reader.see()
    for chart in ("days", "packages"):
        reader.page.locator(f"#{chart} summary").click()
        cells = reader.page.locator(f"#{chart} td:nth-child(2)").all_inner_texts()

        assert total == sum(map(int, cells))
    drawn = reader.page.locator("#days .day b").all_inner_texts()
    open_ones = [one for one in listed(app)["value"] if one["hoursLeft"] > 0]

    assert len(open_ones) == sum(int(one) for one in drawn if one)


def test_a_click_on_a_package_shows_its_requests(reader, app):
    name = "Partner Portal"
    reader.see().page.locator("#packages").get_by_role("button", name=name).click()

    fitting = [one for one in listed(app)["value"] if one.get("accessPackageName") == name]
    assert f"{len(fitting)} of {len(listed(app)['value'])} requests shown" == reader.text("shown")
    assert {name} == set(reader.rows().locator("td.package .one").all_inner_texts())


def test_search_filters_and_order_live_in_the_address(reader):
    """Who opens the same address sees the same rows; clearing leaves the order."""
    page = reader.see().page
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
    rows = [row for row in listed(app)["value"] if row.get("lastRefusal")]
    one = next(row for row in rows if "accessPackageId" in row)
    page = reader.see(f"#search={one['requestId']}").page
    reader.rows().first.locator(".row-more").click()
    told = page.locator("#more-facts")

    for name in ("requestId", "lastRefusal", "accessPackageId", "requestorEmail"):
        expect(told).to_contain_text(one[name])
    page.keyboard.press("Escape")
    expect(reader.rows().first.locator(".row-more")).to_be_focused()


def test_the_file_has_the_rows_of_the_filters(reader, app):
    """Fetched with the key in its header; formulas are text."""
    page = reader.see("#plan=cooling").page
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    text = saved.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    cooling = listed(app, "?limit=1000&plan=cooling")["value"]

    assert [one["requestId"] for one in cooling] == [row["requestId"] for row in rows]
    assert re.fullmatch(r"failed-requests-.*\.csv", saved.value.suggested_filename)


# -- reprocess --


def test_one_request_is_followed_until_it_is_delivered(reader, app):
    """Asked once; the call says that it comes from our own page."""
    app.control("PATCH", "settings", {"deliverySeconds": 1.5})
    calls = []
    reader.page.on("request", lambda call: calls.append((call.method, call.url, call)))
    reader.see(f"#search={FOLLOWED}")
    reprocess(reader, reader.row("Fay Followed"))
    expect(reader.page.locator("#run-list li")).to_have_text("Fay Followed – Legal HoldDelivered")
    app.control("PATCH", "settings", {"deliverySeconds": 0.3})

    expect(reader.row("Fay Followed").locator("td.state")).to_contain_text("Delivered")
    [post] = [call for method, _, call in calls if method == "POST"]
    sent = post.all_headers()
    assert (app.url, f"{app.url}/api/report") == (sent["origin"], sent["referer"])
    polls = [call for _, url, call in calls if "/api/status/" in url]
    assert 2 <= len(polls)
    assert {None} == {poll.all_headers().get("x-functions-key") for poll in polls}
    expect(reader.page.locator("#live")).to_have_text("Done: 1 delivered")


def test_one_that_fails_again_and_one_that_graph_refuses_are_told(reader, app):
    """In plain words, in the panel and in the row, which can be tried again."""
    said = "The group is mastered on-premises."
    app.fault("reprocess", "status", requestId=REFUSED, status=400, message=said)
    reader.see()
    for one, name, told in (
        (FAILING, "Finn Failing", "Failed again"),
        (REFUSED, "Rae Refused", f"Graph says: {said}"),
    ):
        reader.page.locator("#search").fill(one)
        reprocess(reader, reader.row(name))
        expect(reader.page.locator("#run-list li", has_text=name)).to_contain_text(told)
        expect(reader.row(name).locator("td.state")).to_contain_text(told)
        expect(reader.row(name).get_by_role("button", name="Reprocess")).to_be_enabled()


def test_two_hundred_at_once_with_some_refused(reader, app):
    """Each outcome as it comes, at most four calls under way; nothing is sent twice."""
    rows = listed(app)["value"]
    refused = [r["requestId"] for r in rows if "contoso" in r["requestorEmail"]][3:103:10]
    for one in refused:
        app.fault("reprocess", "status", requestId=one, status=400, message="Still retrying.")
    app.control("DELETE", "log")
    under_way, most = set(), []
    page = reader.see("#search=contoso").page
    page.on(
        "request", lambda c: c.method == "POST" and (under_way.add(c), most.append(len(under_way)))
    )
    page.on("response", lambda answer: under_way.discard(answer.request))
    select(reader, 200)
    expect(page.locator("#selected")).to_have_text("200 selected")
    page.get_by_role("button", name="Reprocess 200 …").click()
    expect(page.get_by_role("dialog")).to_contain_text("removals: somebody still has access.")
    page.get_by_role("dialog").get_by_role("button", name="Reprocess 200").click()
    expect(page.locator("#run-title")).to_have_text("Reprocessed 200", timeout=30_000)

    sent = [entry["requestId"] for entry in app.calls("reprocess")]
    assert "190 delivered, 10 with a problem" == reader.text("run-counts")
    assert (200, set(refused)) == (len(sent), set(refused) & set(sent))
    assert sorted(set(sent)) == sorted(sent)
    assert 200 == page.locator("#run-list li").count()
    assert 4 == max(most)
    page.get_by_label("Only problems").check()
    expect(page.locator("#run-list li:visible")).to_have_count(10)
    expect(page.locator("#run-list li:visible").first).to_contain_text(
        "Graph says: Still retrying."
    )


def test_stop_ends_the_sending(reader, app):
    """What was sent cannot be taken back; what was not is told so. Answers are held back here."""
    held = []
    reader.page.route("**/reprocess", lambda route: held.append(route))  # noqa: PLW0108
    reader.see("#plan=cooling")
    select(reader, 20)
    reader.page.locator("#reprocess-selected").click()
    reader.page.locator("#ask-yes").click()
    expect(reader.page.locator("#run-list .sending")).to_have_count(4)
    reader.page.get_by_role("button", name="Stop", exact=True).click()
    expect(reader.page.locator("#run-list .stopped")).to_have_count(16)
    for route in held:
        route.fulfill(status=200, json={"outcome": "alreadyDelivered", "state": "delivered"})
    expect(reader.page.locator("#run-title")).to_have_text("Reprocessed 20")

    assert "4 delivered, 16 stopped" == reader.text("run-counts")
    assert 4 == len(held)


def test_a_told_wait_is_waited_for_and_everybodys(reader):
    """The answers are made here, and the clock is turned on: throttled once, for half a minute."""
    sent = []
    delivered = {"outcome": "alreadyDelivered", "state": "delivered"}
    throttled = {"type": "urn:redeliver:problem:throttled", "retryAfterSeconds": 30}

    def answer(route):
        sent.append(route)
        if len(sent) == 1:
            route.fulfill(status=503, content_type="application/problem+json", json=throttled)
        elif len(sent) > 4:
            route.fulfill(json=delivered)

    page = reader.page
    page.clock.install()
    page.route("**/reprocess", answer)
    reader.see("#plan=cooling")
    select(reader, 9)
    page.locator("#reprocess-selected").click()
    page.locator("#ask-yes").click()
    expect(page.locator("#run-wait")).to_have_text("Graph asks to wait. Goes on in 30 seconds.")
    for route in sent[1:4]:
        route.fulfill(json=delivered)
    page.clock.run_for(29_000)
    expect(page.locator("#run-counts")).to_have_text("3 delivered, 6 to be sent")

    assert 4 == len(sent)
    page.clock.run_for(1_500)
    expect(page.locator("#run-counts")).to_have_text("9 delivered")
    assert 10 == len(sent)


def test_a_lost_connection_holds_up_the_rest_until_it_is_back(reader):
    """Then all are sent. The browser is taken off the network here, and its clock turned on."""
    reader.page.clock.install()
    reader.see(f"#search={SLOW}")
    reader.context.set_offline(True)
    reprocess(reader, reader.row("Sid Slow"))
    expect(reader.page.locator("#run-wait")).to_contain_text("The app cannot be reached.")
    reader.context.set_offline(False)
    reader.page.clock.run_for(3_100)
    expect(reader.page.locator("#run-wait")).to_be_hidden()
    expect(reader.page.locator("#run-list li")).to_contain_text("Accepted, on its way")
    reader.page.clock.run_for(1_100)
    expect(reader.page.locator("#run-list li")).to_contain_text("Delivered")


# -- who may see it --


def test_a_wrong_key_is_told_and_the_right_one_opens(reader):
    page = reader.open().page
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute(
        "href", "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Freport"
    )
    reader.give("wrong")
    expect(page.locator("#key-wrong")).to_have_text("The app did not accept this key.")
    expect(page.locator("#key")).to_be_focused()
    expect(page.locator("#key")).to_have_value("")
    reader.give()
    expect(page.locator("#list")).to_be_visible()


def test_the_key_is_nowhere_but_in_the_calls(reader, app):
    """Not in an address, the history, a storage or the page; *Forget the key* shows the door."""
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
    page.get_by_role("button", name="Forget the key").click()
    expect(page.locator("#door")).to_be_visible()
    expect(reader.rows()).to_have_count(0)
    page.reload()
    expect(page.locator("#door")).to_be_visible()


def test_a_list_that_is_on_its_way_when_the_key_is_forgotten_is_not_shown(reader):
    """Whoever comes next may be somebody else; nor does it keep the next key from being used."""
    held = []
    page = reader.see().page
    page.route(LIST, lambda route: held.append((route, route.fetch())))
    page.get_by_role("button", name="Refresh").click()
    while not held:
        page.wait_for_timeout(10)
    page.get_by_role("button", name="Forget the key").click()
    for route, answer in held:
        route.fulfill(response=answer)
    page.unroute(LIST)

    page.wait_for_timeout(200)
    expect(page.locator("#door")).to_be_visible()
    expect(reader.rows()).to_have_count(0)
    reader.give()
    expect(page.locator("#list")).to_be_visible()


def test_a_key_in_the_address_is_neither_used_nor_left_there(reader, app):
    """By habit, since the portal gives out addresses with `?code=`."""
    page = reader.page
    page.goto(f"{app.url}/api/report?code={app.function_key}#plan=due")
    expect(page.locator("#door")).to_be_visible()

    assert f"{app.url}/api/report#plan=due" == page.url


def test_a_session_opens_the_list_without_a_key(chromium, guarded):
    """App Service authentication says who it is, by a cookie; here by the header that it adds."""
    user = principal(("oid", APP), ("scp", "user_impersonation"), ("roles", ROLE))
    with Reader(chromium, guarded, extra_http_headers=user) as reader:
        reader.open()
        expect(reader.page.locator("#list")).to_be_visible()
        expect(reader.page.get_by_role("button", name="Sign out")).to_be_visible()
    with Reader(chromium, guarded) as reader:
        reader.open()
        expect(reader.page.get_by_role("link", name="Sign in")).to_be_visible()
    user = principal(("oid", APP), ("scp", "user_impersonation"))
    with Reader(chromium, guarded, extra_http_headers=user) as reader:
        reader.open()
        expect(reader.page.locator("#problem-title")).to_have_text("You may not do this")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_sites_page_cannot_reprocess(chromium, guarded, host):
    """Cross-site, and same-site from another port, with the reader's session: Graph is not called."""
    user = principal(("oid", APP), ("scp", "user_impersonation"), ("roles", ROLE))
    [one] = guarded.failures(1)
    with Reader(chromium, guarded, extra_http_headers=user) as reader:
        reader.page.goto(f"http://{host}:{guarded.graph_port}/")
        with reader.page.expect_response("**/reprocess") as answer:
            reader.page.evaluate(
                "url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include'})"
                ".catch(() => 0)",
                f"{guarded.url}/api/requests/{one}/reprocess",
            )

    assert 403 == answer.value.status
    assert [] == guarded.calls("reprocess")


# -- hostile names --


def test_hostile_names_are_text(reader):
    """In the row, in both dialogs and in the panel; no row is higher or wider for it."""
    page = reader.see("#search=adatum").page
    for name in HOSTILE.values():
        more = page.locator("#table .row-more").filter(has_text=name)
        expect(more).to_have_text(name)
        more.click()
        expect(page.locator("#more-title")).to_have_text(name)
        page.locator("#more-reprocess").click()
        expect(page.locator("#ask-whom")).to_contain_text(name)
        page.keyboard.press("Escape")
    page.get_by_label("Select all shown").check()
    page.locator("#reprocess-selected").click()
    page.locator("#ask-yes").click()
    for name in HOSTILE.values():
        expect(page.locator("#run-list li").filter(has_text=name)).to_contain_text("Delivered")
    rows = page.locator("#table tbody tr")
    heights = {round(rows.nth(n).bounding_box()["height"], 2) for n in range(rows.count())}

    assert page.evaluate("window.hacked") is None
    assert 1 == len(heights)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


# -- states that are made here --


def test_while_graph_is_slow_the_page_says_so(reader):
    """The list's answer is held back here, and the clock turned on."""
    reader.page.clock.install()
    reader.open().page.route(LIST, lambda _: None)
    reader.give()
    expect(reader.page.locator("#loading")).to_be_visible()
    reader.page.clock.run_for(5_500)
    expect(reader.page.locator("#slow")).to_be_visible()


def test_nothing_fails(reader):
    """A made list: nobody has to look at empty charts."""
    reader.change(lambda b: b.update(value=[], counts=dict.fromkeys(b["counts"], 0))).see()

    expect(reader.page.locator("#nothing")).to_be_visible()
    expect(reader.page.locator("#some")).to_be_hidden()
    assert "0" == reader.text("failing")


def test_nothing_fits(reader):
    reader.see("#search=nobody").page.get_by_text(
        "No failed request fits these filters."
    ).wait_for()

    expect(reader.page.get_by_role("button", name="Clear filters")).to_be_visible()


SWEEP = {"at": ago(hours=3), "dryRun": False, "due": 3, "accepted": 2, "failed": 1, "postponed": 0}
SWEEPS = {
    "never": (None, "never", "No sweep has ended yet.", False),
    "dry run": (SWEEP | {"dryRun": True}, "3 hours ago", "3 were due; nothing was changed.", True),
    "nothing due": (SWEEP | {"due": 0}, "3 hours ago", "Nothing was due.", False),
    "some": (SWEEP, "3 hours ago", "Of 3 due: 2 accepted, 1 not taken.", False),
}


def test_what_came_of_the_last_sweep(reader):
    """Made reports, one after the other."""
    reports = iter([report for report, *_ in SWEEPS.values()])
    reader.change(lambda body: body.update(lastSweep=next(reports))).open().give()
    for _, when, what, is_dry_run in SWEEPS.values():
        expect(reader.page.locator("#sweep")).to_have_text(when)
        expect(reader.page.locator("#sweep-more")).to_contain_text(what)
        assert is_dry_run == reader.page.locator("#dry-run").is_visible()
        if what != "Of 3 due: 2 accepted, 1 not taken.":
            reader.page.get_by_role("button", name="Refresh").click()


def test_a_list_that_is_not_whole_says_so(reader):
    """A made list, with a sweep that had a problem."""
    detail, missing = "Graph says: The caller is not authorized.", [IDS["long"]]
    reader.change(
        lambda body: body.update(
            listComplete=False,
            detail=detail,
            unlisted=missing,
            lastSweep=SWEEP | {"problem": "the table could not be written"},
        )
    ).see()

    said = "Graph did not give all of it."
    assert [
        "The last sweep had a problem: the table could not be written",
        f"This list is not whole: {said} {detail} Missing: access package {IDS['long']}.",
    ] == reader.page.locator("#notes p").all_inner_texts()


def test_a_list_that_breaks_off_shows_what_was_read(reader):
    """The second page is a problem, made here; the reader sees how much is missing."""
    reader.change(lambda body: body.update(nextLink=f"{reader.app.url}/api/requests?after=x"))
    reader.open().fail("graph-timeout", 504, "**/api/requests?after=*")
    reader.give()
    expect(reader.page.get_by_role("alert").filter(has_text="could not be read")).to_have_text(
        "The list could not be read: Graph gave no answer in time. Look again before you reprocess "
        f"it once more: it may have been accepted. Only {len(listed(reader.app)['value'])} of "
        f"{len(listed(reader.app)['value'])} were read."
    )
    assert reader.text("closing").endswith("+")


PROBLEMS = {
    "misconfigured": (500, "The app is misconfigured"),
    "internal": (500, "The app has an error"),
    "graph-denied": (502, "Graph denies access to the app"),
    "graph-failed": (502, "Graph is failing or cannot be reached"),
    "attempts-unreadable": (502, "What was tried cannot be read"),
    "throttled": (503, "Graph asks to wait"),
    "graph-timeout": (504, "Graph gave no answer in time"),
    "forbidden": (403, "You may not do this"),
}


def test_a_problem_is_told_in_words(reader):
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
    with page.expect_request("**/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Freport"):
        page.get_by_role("button", name="Sign in again").click()


def test_a_lost_connection_leaves_the_list_and_ends_by_itself(reader):
    """The browser is taken off the network here; its clock is turned on."""
    reader.page.clock.install()
    reader.see().context.set_offline(True)
    reader.page.get_by_role("button", name="Refresh").click()
    alert = reader.page.get_by_role("alert").filter(has_text="could not be read")
    expect(alert).to_contain_text("The app cannot be reached.")
    expect(reader.rows().first).to_be_visible()
    reader.context.set_offline(False)
    reader.page.clock.run_for(11_000)
    expect(alert).to_have_count(0)


def test_five_thousand_rows_scroll_and_filter(reader):
    """Made of the real ones: only those in view are in the page, no frame is long."""

    def many(body):
        rows = body["value"]
        body["value"] = [
            rows[n % len(rows)] | {"requestId": f"f0000000-0000-4000-8000-{n:012}"}
            for n in range(5000)
        ]

    page = reader.change(many).see().page
    expect(page.locator("#table")).to_have_attribute("aria-rowcount", "5001")
    page.evaluate(FRAMES)
    page.locator("#search").press_sequentially("adele", delay=40)
    expect(page.locator("#shown")).to_contain_text("of 5,000 requests shown")
    page.locator("#search").fill("")
    expect(page.locator("#shown")).to_have_text("5,000 requests, in the sweep's order")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator('#table tr[aria-rowindex="5001"]')).to_be_visible()

    assert 60 > reader.rows().count()
    assert 400 > page.evaluate("window.longest")  # ms, on a machine that does other things, too


def test_all_rows_are_on_paper(reader, app, tmp_path):
    """Also those that are not in the page on a screen."""
    page = reader.see().page
    page.evaluate(
        "addEventListener('beforeprint', () => {"
        " window.printed = document.querySelectorAll('#table tbody tr').length })"
    )
    page.pdf(path=tmp_path / "printed.pdf", prefer_css_page_size=True)

    assert len(listed(app)["value"]) == page.evaluate("window.printed")
    expect(reader.rows()).not_to_have_count(len(listed(app)["value"]))


# -- for everybody --


def test_the_keyboard_is_enough(reader, app):
    """From the key to a delivered request, and through the rows; the focus is never lost."""
    page = reader.open().page
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(app.function_key)
    page.keyboard.press("Enter")
    expect(page.locator("#list")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#table-title")).to_be_focused()
    reader.rows().first.get_by_role("checkbox").focus()
    page.keyboard.press("End")
    last = page.locator(f'#table tr[aria-rowindex="{len(listed(app)["value"]) + 1}"]')
    expect(last.get_by_role("checkbox")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator("#selected")).to_have_text("1 selected")
    page.mouse.wheel(0, 4000)  # the row with the focus is kept, wherever it is
    page.wait_for_timeout(100)
    expect(page.locator('#table tr[aria-rowindex="3"]').get_by_role("checkbox")).to_be_focused()
    page.locator("#reprocess-selected").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ask-yes")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator("#reprocess-selected")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#run-title")).to_have_text("Reprocessed 1")


def looked_at(reader):
    """Every state of the page, one after the other, by name."""
    page = reader.open().page
    yield "door"
    reader.give("wrong")
    page.locator("#key-wrong:not(:empty)").wait_for()
    yield "wrong key"
    reader.give()
    page.locator("#main[aria-busy=false] #list:not([hidden])").wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    yield "list"
    for summary in page.locator("summary").all():
        summary.click()
    page.locator("#search").fill("adele")  # few rows look like many, and are soon checked
    page.locator("#shown", has_text="of").wait_for()
    for place in range(3):
        reader.rows().nth(place).get_by_role("checkbox").check()
    yield "selected"
    page.locator("#reprocess-selected").click()
    yield "asked"
    page.locator("#ask-yes").click()
    page.locator("#run-title", has_text="Reprocessed").wait_for()
    yield "reprocessed"
    reader.rows().first.locator(".row-more").click()
    yield "explained"
    page.keyboard.press("Escape")
    page.locator("#run-close").click()
    page.locator("#search").fill("nobody")
    page.locator("#no-match").wait_for()
    yield "nothing fits"
    reader.fail("throttled", 503, retryAfterSeconds=60, detail="Wait.")
    page.locator("#refresh").click()
    page.get_by_role("alert").filter(has_text="could not be read").wait_for()
    yield "broken"


def looked_at_otherwise(reader):
    """Those states that begin with other answers."""
    reader.page.route(LIST, lambda _: None)
    reader.page.goto(f"{reader.app.url}/api/report")
    yield "loading"
    reader.page.unroute(LIST)
    reader.fail("graph-denied", 502, detail="HTTP 403.", instance="run-1").open().give()
    reader.page.locator("#problem").wait_for()
    yield "problem"
    reader.page.unroute(LIST)
    reader.change(lambda b: b.update(value=[], counts={}, listComplete=False, lastSweep=None))
    reader.see()
    yield "nothing"


def violations(page, rules=None):
    """What axe finds, all of it or by these rules only."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(page, options=options).response["violations"]
    return [(one["id"], one["nodes"][0]["target"]) for one in found]


@pytest.mark.parametrize("states", [looked_at, looked_at_otherwise], ids=["usual", "other"])
def test_axe_finds_nothing_in_any_state(chromium, app, states):
    """In light; in dark only colours are others."""
    found = []
    with Reader(chromium, app) as reader:
        for state in states(reader):
            found += [(state, *one) for one in violations(reader.page)]
            reader.page.emulate_media(color_scheme="dark")
            found += [(state, "dark", *one) for one in violations(reader.page, ["color-contrast"])]
            reader.page.emulate_media(color_scheme="light")

    assert [] == found


@pytest.mark.parametrize("states", [looked_at, looked_at_otherwise], ids=["usual", "other"])
def test_on_a_phone_nothing_is_wider_than_the_window(chromium, app, states):
    """Down to 320 pixels; and where rows are cards, axe finds nothing either."""
    found = []
    with Reader(chromium, app, viewport=NARROW, color_scheme="dark") as reader:
        for state in states(reader):
            if state == "list":
                found += violations(reader.page)
            for width in (320, NARROW["width"]):
                reader.page.set_viewport_size(NARROW | {"width": width})
                more = reader.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                found += [(state, "too wide", width, more)] if more else []

    assert [] == found
