"""`GET /api/requests`: what has failed and what is planned, whole answers over a scripted Graph."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import settings as app_settings
from deadline import Deadline
from graph import DetailedRequest, Request
from reprocess_http import door, failures
from reprocess_http.problems import TimedOut
from reprocess_timer.failure import NAMES, item, judged, place
from reprocess_timer.plan import Planner, Standing
from settings import load
from table import NEVER, Attempt
from tests.calls import Crowd, Gate
from tests.listed import PACKAGES, View, failed, lists, name_of
from tests.scripted import NOW, REQUESTS, reply

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COUNTS = dict.fromkeys(["due", "cooling", "exhausted", "expired", "excluded"], 0)
FORBIDDEN = reply(403, {"error": {"code": "Forbidden", "message": "No role here."}})


@pytest.fixture(name="view")
def _view(monkeypatch, caplog):
    """The route over a script, with these settings."""

    def view(*script, **environ):
        monkeypatch.setattr(app_settings, "current", lambda: app_settings.load(environ))
        return View(monkeypatch, caplog, *script)

    return view


# -- whole answers --


def test_a_whole_answer(view):
    """Everything that is known of a request, beside the plan of it."""
    view = view(
        lists(failed(1, DAY), failed(2, DAY, requestType="adminRemove", accessPackage=None))
    )
    view.tried(1, 3, HOUR, outcome="refused", refusal="Busy: Still retrying.")
    view.one.attempts.note_sweep({"found": 2, "problem": None, "listComplete": True}, NOW - HOUR)

    answer = view.get()

    assert {
        "value": [
            {
                "requestId": name_of(2),
                "requestType": "adminRemove",
                "removal": True,
                "state": "deliveryFailed",
                "statusText": "DeliveryFailed",
                "requestorId": "o-1",
                "requestorName": "Adele Vance",
                "requestorEmail": "adele@x.example",
                "createdAt": "2026-11-04T10:00:00Z",
                "completedAt": "2026-11-23T10:00:00Z",
                "windowEndsAt": "2026-12-07T10:00:00Z",
                "hoursLeft": 312.0,
                "attempts": 0,
                "plan": "due",
            },
            {
                "requestId": name_of(1),
                "requestType": "userAdd",
                "removal": False,
                "state": "deliveryFailed",
                "statusText": "DeliveryFailed",
                "accessPackageId": PACKAGES[1],
                "accessPackageName": "Sales Team",
                "requestorId": "o-1",
                "requestorName": "Adele Vance",
                "requestorEmail": "adele@x.example",
                "createdAt": "2026-11-04T10:00:00Z",
                "completedAt": "2026-11-23T10:00:00Z",
                "windowEndsAt": "2026-12-07T10:00:00Z",
                "hoursLeft": 312.0,
                "attempts": 3,
                "lastAttemptAt": "2026-11-24T09:00:00Z",
                "lastOutcome": "refused",
                "lastRefusal": "Busy: Still retrying.",
                "nextAttemptAt": "2026-11-24T13:00:00Z",
                "plan": "cooling",
            },
        ],
        "asOf": "2026-11-24T10:00:00Z",
        "listComplete": True,
        "counts": COUNTS | {"due": 1, "cooling": 1},
        "lastSweep": {"at": "2026-11-24T09:00:00Z", "found": 2, "listComplete": True},
    } == answer.body
    assert (200, "application/json") == (answer.status, answer.type)
    assert {
        "x-correlation-id": "run-1",
        "cache-control": "no-store",
        "vary": "Accept",
        "x-content-type-options": "nosniff",
    } == answer.headers
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert {
        "event": "requests",
        "status": 200,
        "caller": "function key",
        "count": 2,
        "listComplete": True,
        "correlationId": "run-1",
    } == line


def test_the_answer_when_nothing_fails_and_no_sweep_ever_ran(view):
    """`lastSweep` is null; a page can tell that from a field that it does not know."""
    assert {
        "value": [],
        "asOf": "2026-11-24T10:00:00Z",
        "listComplete": True,
        "counts": COUNTS,
        "lastSweep": None,
    } == view(lists()).get().body


def test_what_is_not_known_is_left_out(view):
    """A request of which Graph tells next to nothing is still there."""
    answer = view(lists({"id": name_of(1), "state": "deliveryFailed"})).get()

    assert [
        {
            "requestId": name_of(1),
            "removal": False,
            "state": "deliveryFailed",
            "attempts": 0,
            "plan": "due",
        }
    ] == answer.body["value"]


def test_the_same_as_csv(view):
    """The same names as a line of headers, the same values, and a name for the file."""
    view = view(
        lists(failed(1, DAY), failed(2, DAY, requestType="adminRemove", accessPackage=None))
    )
    view.tried(1, 3, HOUR, outcome="refused", refusal="=Busy")

    answer = view.get("text/csv")

    assert (
        "\ufeffrequestId,requestType,removal,state,statusText,accessPackageId,accessPackageName,"
        "requestorId,requestorName,requestorEmail,createdAt,completedAt,windowEndsAt,hoursLeft,"
        "attempts,lastAttemptAt,lastOutcome,lastRefusal,nextAttemptAt,plan\r\n"
        f"{name_of(2)},adminRemove,true,deliveryFailed,DeliveryFailed,,,o-1,Adele Vance,"
        "adele@x.example,2026-11-04T10:00:00Z,2026-11-23T10:00:00Z,2026-12-07T10:00:00Z,312.0,"
        "0,,,,,due\r\n"
        f"{name_of(1)},userAdd,false,deliveryFailed,DeliveryFailed,{PACKAGES[1]},Sales Team,o-1,"
        "Adele Vance,adele@x.example,2026-11-04T10:00:00Z,2026-11-23T10:00:00Z,"
        "2026-12-07T10:00:00Z,312.0,3,2026-11-24T09:00:00Z,refused,'=Busy,2026-11-24T13:00:00Z,"
        "cooling\r\n"
    ) == answer.body
    assert (200, "text/csv") == (answer.status, answer.type)
    assert {
        "x-correlation-id": "run-1",
        "cache-control": "no-store",
        "vary": "Accept",
        "x-content-type-options": "nosniff",
        "content-disposition": 'attachment; filename="failed-requests-2026-11-24T1000Z.csv"',
        "x-list-complete": "true",
    } == answer.headers


def test_csv_has_all_rows_that_fit_and_no_pages(view):
    """However many; a limit with it is a mistake that is told."""
    whole = lists(*(failed(n, kind) for n, kind in enumerate([DAY, 15 * DAY] * 600)))
    view = view(whole, whole)  # an only page is read again, since $top may have cut it off

    answer = view.get("text/csv", plan="expired")
    limited = view.get("text/csv", limit="10")

    assert 601 == answer.body.count("\r\n")
    assert (
        400,
        "'limit' is not a parameter here, only accessPackage and plan and state and type.",
    ) == (
        limited.status,
        limited.body["detail"],
    )


HOSTILE = (
    "<script>alert(1)</script>",
    '=HYPERLINK("https://x.example","y")',
    "\u202egnp.exe",
    "🙂" * 100,
    'a"b,c\r\nd',
    "x" * 500,
    "\x00\x1b[31m",
    "half a pair \ud83d",
    "'; DROP TABLE",
)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_text(view, name):
    """As it is in JSON; in CSV it comes back but for an apostrophe, and half a character is a `?`."""
    view = view(lists(failed(1, requestor={"displayName": name})))

    row = view.get().body["value"][0]
    sheet = csv.DictReader(io.StringIO(view.get("text/csv").body[1:], newline=""))

    assert name == row["requestorName"]
    shown = name.replace("\ud83d", "?")
    assert shown.lstrip("'") == next(sheet)["requestorName"].lstrip("'")


# -- what a row tells --


@pytest.mark.parametrize(
    ("ago", "hours"),
    [
        (timedelta(), 336.0),
        (timedelta(seconds=1), 335.9),  # never more than is left
        (14 * DAY - timedelta(minutes=7), 0.1),
        (14 * DAY - timedelta(minutes=5), 0.0),
        (14 * DAY, 0.0),
        (15 * DAY, 0.0),
        (None, None),
    ],
)
def test_the_hours_left(view, ago, hours):
    """One decimal, rounded down, never negative; none when nobody knows when it failed."""
    (row,) = view(lists(failed(1, ago))).get().body["value"]

    assert hours == row.get("hoursLeft")
    assert ("windowEndsAt" in row) is (hours is not None)


@pytest.mark.parametrize(
    ("count", "ago", "plan", "following"),
    [
        (0, None, "due", None),  # with the next sweep
        (1, timedelta(minutes=30), "cooling", "2026-11-24T10:30:00Z"),
        (1, 2 * HOUR, "due", None),
        (20, HOUR, "exhausted", None),
    ],
)
def test_the_next_attempt(view, count, ago, plan, following):
    """Only what cools down has a time of its own."""
    view = view(lists(failed(0, 13 * DAY)))
    if ago:
        view.tried(0, count, ago)

    (row,) = view.get().body["value"]

    assert (plan, following) == (row["plan"], row.get("nextAttemptAt"))


def test_no_next_attempt_is_promised_for_after_the_window(view):
    """It cools down until nobody may try it any more."""
    view = view(lists(failed(0, 14 * DAY - timedelta(minutes=30))))
    view.tried(0, 6, timedelta(minutes=20), failed=NOW - 14 * DAY + timedelta(minutes=30))

    (row,) = view.get().body["value"]

    assert ("cooling", 0.5, None) == (row["plan"], row["hoursLeft"], row.get("nextAttemptAt"))


# -- order --


def request(number, ago, kind="userAdd", state="deliveryFailed"):
    completed = NOW - timedelta(minutes=ago) if ago is not None else None
    return DetailedRequest(name_of(number), state, kind, completed)


REQUESTS_OF_ANY_KIND = st.lists(
    st.builds(
        request,
        st.integers(0, 0xFFFF),
        st.none() | st.integers(0, 15 * 24 * 60),
        st.sampled_from(["userAdd", "adminRemove", "SystemRemove"]),
        st.sampled_from(["deliveryFailed", "PartiallyDelivered", "delivering"]),
    ),
    unique_by=lambda one: one.id,
    max_size=30,
)
# attempts, minutes since the last one, whether a caller was promised the next sweep
KNOWN = st.tuples(st.integers(0, 25), st.integers(0, 5000), st.booleans())


@given(REQUESTS_OF_ANY_KIND, st.data())
def test_the_order_and_the_counts_are_the_sweeps(requests_, data):
    """Due ones first, exactly as the sweep takes them, and as many of each kind."""
    tried = data.draw(st.fixed_dictionaries({}, optional={one.id: KNOWN for one in requests_}))
    known = {
        one: Attempt(one, count, NOW - timedelta(minutes=ago), deferred=deferred)
        for one, (count, ago, deferred) in tried.items()
    }
    settings = load({})
    planner = Planner(known, settings, NOW)
    for one in requests_:
        planner.add(one)
    plan = planner.plan()

    ordered = sorted(
        (judged(one, known.get(one.id), settings, NOW) for one in requests_), key=place
    )

    assert [one.request.id for one in plan.due] == [
        one.request.id for one in ordered if one.standing is Standing.DUE
    ]
    assert sorted(plan.counts.elements()) == sorted(one.standing for one in ordered)
    ranks = [list(Standing).index(one.standing) for one in ordered]
    assert sorted(ranks) == ranks
    cooling = [one.next_attempt_at for one in ordered if one.standing is Standing.COOLING]
    known_times = [at for at in cooling if at]
    assert sorted(known_times) + [None] * (len(cooling) - len(known_times)) == cooling


def test_the_order_by_an_example(view):
    """Promised, removals, oldest; then the next to be tried; then those that need a person."""
    view = view(
        lists(
            failed(1, 15 * DAY),
            failed(2, DAY),
            failed(3, 2 * DAY),
            failed(4, DAY),
            failed(5, DAY),
            failed(6, DAY),
            failed(7, DAY, state="delivering"),
            failed(8, HOUR, requestType="userRemove"),
            failed(9, HOUR),
        )
    )
    view.tried(4, 1, timedelta(minutes=10))
    view.tried(5, 1, timedelta(minutes=20))
    view.tried(6, 20, HOUR)
    view.tried(9, 1, HOUR, deferred=True)

    assert [9, 8, 3, 2, 5, 4, 6, 1, 7] == view.numbers()


# -- pages --


def pages(view, **query):
    """The numbers on every page, following the links."""
    found = [view.get(**query).body]
    while link := found[-1].get("nextLink"):
        found.append(view.get(**dict(parse_qsl(urlsplit(link).query))).body)
    return [[int(one["requestId"][:8], 16) for one in body["value"]] for body in found]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("2", [[4, 3], [2, 1], [0]]), ("5", [[4, 3, 2, 1, 0]]), ("4", [[4, 3, 2, 1], [0]])],
)
def test_pages_together_are_the_list(view, limit, expected):
    """Each request once; the last page has no link."""
    view = view(lists(*(failed(n, (n + 1) * HOUR) for n in range(5))))

    assert expected == pages(view, limit=limit)


def test_a_link_is_absolute_and_keeps_the_filters(view):
    """But no key, which a caller may have put into the address."""
    view = view(lists(*(failed(n, (n + 1) * HOUR) for n in range(5))))

    link = view.get(limit="2", type="userAdd", code="secret").body["nextLink"]

    parts = urlsplit(link)
    assert ("https", "app.example", "/api/requests") == parts[:3]
    assert ["type", "limit", "after"] == [name for name, _ in parse_qsl(parts.query)]


def test_two_hundred_come_unless_another_number_is_asked_for(view):
    """A thousand at most."""
    whole = lists(*(failed(n, HOUR) for n in range(1200)))
    view = view(whole, whole)

    assert [200, 1000] == [
        len(view.get(**query).body["value"]) for query in ({}, {"limit": "1000"})
    ]


def test_what_fails_in_between_shifts_nothing(view):
    """A page begins after the last one of the page before, wherever that is by now."""
    before = [failed(n, n * HOUR) for n in range(1, 7)]
    now = [failed(9, 13 * DAY), *before[:2], *before[3:], failed(8, timedelta(minutes=30))]
    view = view(lists(*before), lists(*now))

    first = view.get(limit="3").body
    view.time = failures.KEPT_SECONDS
    second = view.get(**dict(parse_qsl(urlsplit(first["nextLink"]).query))).body

    numbers = [[int(one["requestId"][:8], 16) for one in page["value"]] for page in (first, second)]
    assert [[6, 5, 4], [2, 1, 8]] == numbers


def test_a_page_goes_on_where_its_last_request_has_gone(view):
    """It was delivered meanwhile."""
    view = view(
        lists(*(failed(n, n * HOUR) for n in range(1, 5))),
        lists(failed(2, 2 * HOUR), failed(1, HOUR)),
    )
    first = view.get(limit="2").body
    view.time = failures.KEPT_SECONDS

    assert [2, 1] == view.numbers(**dict(parse_qsl(urlsplit(first["nextLink"]).query)))


# -- filters --

SOME = (
    failed(1, 6 * HOUR),
    failed(2, 5 * HOUR, state="PartiallyDelivered", accessPackage={"id": PACKAGES[2].upper()}),
    failed(3, 4 * HOUR, requestType="adminRemove", accessPackage=None),
    failed(4, 15 * DAY, requestType="SystemRemove"),
    failed(5, 3 * HOUR, requestType="adminAdd"),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [3, 1, 2, 5, 4]),
        ({"plan": "due"}, [3, 1, 2, 5]),
        ({"plan": "Expired,COOLING"}, [4]),
        ({"plan": " due , expired"}, [3, 1, 2, 5, 4]),
        ({"state": "partiallydelivered"}, [2]),
        ({"state": "deliveryFailed,partiallyDelivered"}, [3, 1, 2, 5, 4]),
        ({"type": "userAdd"}, [1, 2]),
        ({"type": "adminADD,systemremove"}, [5, 4]),
        ({"type": "removal"}, [3, 4]),
        ({"type": "removal,adminAdd"}, [3, 5, 4]),
        ({"type": "never"}, []),
        ({"accessPackage": PACKAGES[1].upper()}, [1, 5, 4]),
        ({"accessPackage": f"{PACKAGES[2]},{PACKAGES[3]}"}, [2]),
        ({"plan": "due", "type": "removal", "state": "deliveryFailed"}, [3]),
    ],
)
def test_a_filter_leaves_what_fits(view, query, expected):
    """Any of several values, all of several filters, in any case; the counts stay those of all."""
    view = view(lists(*SOME))
    answer = view.get(**query)

    assert expected == [int(one["requestId"][:8], 16) for one in answer.body["value"]]
    assert COUNTS | {"due": 4, "expired": 1} == answer.body["counts"]


PLAN = "'plan' should be one or several of due, cooling, exhausted, expired, excluded, comma separated."
STATE = "'state' should be one or several of deliveryFailed, partiallyDelivered, comma separated."
TYPE = (
    "'type' should be one or several request types, such as userAdd or adminRemove, or removal for "
    "every removal, comma separated."
)
PACKAGE = "'accessPackage' should be one or several ids of access packages, GUIDs, comma separated."
LIMIT = "'limit' should be a whole number, 1 to 1000."
AFTER = "'after' should be that of a nextLink, unchanged."


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"plan": "dew"}, PLAN),
        ({"plan": ""}, PLAN),
        ({"plan": "due,"}, PLAN),
        ({"plan": "due;expired"}, PLAN),
        ({"state": "delivered"}, STATE),
        ({"state": "*"}, STATE),
        ({"type": "user add"}, TYPE),
        ({"type": "userAdd'"}, TYPE),
        ({"type": "x" * 41}, TYPE),
        ({"accessPackage": "Sales Team"}, PACKAGE),
        ({"accessPackage": PACKAGES[1] + " or 1 eq 1"}, PACKAGE),
        ({"limit": "0"}, LIMIT),
        ({"limit": "1001"}, LIMIT),
        ({"limit": "-1"}, LIMIT),
        ({"limit": "1.0"}, LIMIT),
        ({"limit": "²"}, LIMIT),
        ({"limit": "9" * 5000}, LIMIT),
        ({"after": ""}, AFTER),
        ({"after": "x"}, AFTER),
        ({"after": "é"}, AFTER),
        ({"after": "bnVsbA"}, AFTER),
        ({"after": "W10"}, AFTER),
        ({"after": "WzAsMSwyLDMsNCw1XQ"}, AFTER),
        (
            {"page": "2"},
            "'page' is not a parameter here, only accessPackage and after and limit and plan and state and type.",
        ),
    ],
    ids=lambda value: next(iter(value.items())).__str__()[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_parameter_is_told_and_nothing_is_called(view, query, says):
    """A misspelt filter must not pass for an empty list."""
    view = view()
    answer = view.get(**query)

    assert (400, "urn:redeliver:problem:invalid-parameter", says) == (
        answer.status,
        answer.body["type"],
        answer.body["detail"],
    )
    assert [] == view.one.world.calls


PARAMETERS = st.sampled_from(["plan", "state", "type", "accessPackage", "limit", "after", "x"])


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.dictionaries(PARAMETERS, st.text(max_size=40), max_size=3), accept=st.text())
def test_no_query_breaks_anything(view, query, accept):
    """Whatever is sent, it is an answer or a wrong parameter."""
    assert view(lists()).get(accept, **query).status in {200, 400}


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.lists(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), max_size=7
    )
)
def test_no_continuation_breaks_anything(view, place):
    """It is the caller's, so it may be anything."""
    after = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")

    assert view(lists(failed(1))).get(after=after).status in {200, 400}


# -- one list for all --


def test_one_list_serves_half_a_minute(view):
    """Whatever is asked of it; then there is a new one."""
    view = view(lists(failed(1)), lists(failed(2)))

    seen = [view.numbers(), view.numbers(plan="due"), view.get("text/csv").body.count("\r\n")]
    view.time = failures.KEPT_SECONDS - 0.1
    seen.append(view.numbers())
    assert ([[1], [1], 2, [1]], 1) == (seen, len(view.one.world.calls))
    view.time = failures.KEPT_SECONDS

    assert ([2], 2) == (view.numbers(), len(view.one.world.calls))


def test_of_several_at_once_one_lists(monkeypatch):
    """The others get the same, and what is read is kept before anybody else can ask."""
    kept, gate = failures.Kept(lambda: 0.0), Gate("what was read")

    def ask():
        return kept.get(Deadline(10), gate)

    assert ["what was read"] * 8 == Crowd(monkeypatch).ends(gate, *[ask] * 8)
    assert ("what was read", 1) == (ask(), gate.times)


def test_a_problem_is_everybodys_and_is_not_kept(monkeypatch):
    """The next call tries again."""
    kept, gate = failures.Kept(lambda: 0.0), Gate(TimedOut("Silence."))

    def ask():
        return kept.get(Deadline(10), gate)

    assert [gate.end] * 3 == Crowd(monkeypatch).ends(gate, *[ask] * 3)
    assert 1 == kept.get(Deadline(10), lambda: 1)


def test_who_waits_for_anothers_list_does_not_wait_for_ever():
    """504 at the end of its own time."""
    kept = failures.Kept()

    def slow():
        with pytest.raises(TimedOut, match="Another call's list"):
            kept.get(Deadline(0), lambda: 2)
        return 1

    assert 1 == kept.get(Deadline(10), slow)


# -- lists that are not whole --


def test_a_request_that_comes_twice_is_there_once(view):
    """Pages may repeat what moved between two reads."""
    link = f"{REQUESTS}?$skiptoken=x"

    assert [1, 2] == view(
        lists(failed(1, 2 * HOUR), failed(2, HOUR), following=link), lists(failed(2, HOUR))
    ).numbers()


def test_a_list_that_breaks_off_gives_what_was_read(view):
    """And says so, and why; in the name of a CSV file as well."""
    link = f"{REQUESTS}?$skiptoken=x"
    gone = reply(404, {"error": {"code": "Gone", "message": "The page is gone."}}, request_id="g")
    view = view(lists(failed(1), following=link), gone)

    answer = view.get()
    sheet = view.get("text/csv")

    assert [name_of(1)] == [one["requestId"] for one in answer.body["value"]]
    assert COUNTS | {"due": 1} == answer.body["counts"]
    assert (False, None) == (answer.body["listComplete"], answer.body.get("unlisted"))
    detail = "Graph refuses the list: The page is gone (HTTP 404 Gone)."
    assert detail == answer.body["detail"]
    (line,) = answer.lines
    assert (200, False, detail, "Gone", "g") == (
        line["status"],
        line["listComplete"],
        line["detail"],
        line["graphErrorCode"],
        line["graphRequestId"],
    )
    assert "false" == sheet.headers["x-list-complete"]
    assert (
        'filename="failed-requests-2026-11-24T1000Z-not-whole.csv"'
        in (sheet.headers["content-disposition"])
    )


@pytest.mark.parametrize(
    ("script", "status", "problem"),
    [
        ([FORBIDDEN], 502, "graph-denied"),
        ([reply(404, {"error": {"code": "Gone"}})], 502, "graph-failed"),
        ([reply(400)] * 8, 502, "graph-failed"),
        ([reply(429, Retry_After="3600")], 503, "throttled"),
        ([reply(200, {})], 502, "graph-failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_of_which_nothing_was_read_is_a_problem(view, script, status, problem):
    """An empty list would say that all is well."""
    answer = view(*script).get()

    assert (status, f"urn:redeliver:problem:{problem}") == (answer.status, answer.body["type"])


def test_an_access_package_that_cannot_be_listed_costs_itself(view):
    """It is named."""
    view = view(
        lists(failed(1)),
        FORBIDDEN,
        lists(failed(3)),
        SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[1:4]),
    )

    body = view.get().body

    assert [name_of(1), name_of(3)] == [one["requestId"] for one in body["value"]]
    assert (False, [PACKAGES[2]]) == (body["listComplete"], body["unlisted"])
    assert body["detail"].startswith("No role here.")
    assert [True, True, True] == [
        package in url
        for package, (_, url) in zip(PACKAGES[1:4], view.one.world.calls, strict=True)
    ]


def test_an_empty_access_package_beside_a_forbidden_one_is_an_answer(view):
    """One list ended well."""
    view = view(lists(), FORBIDDEN, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[1:3]))

    body = view.get().body

    assert ([], False, [PACKAGES[2]]) == (body["value"], body["listComplete"], body["unlisted"])


def test_an_access_package_that_graph_refuses_is_a_wrong_setting(view):
    """The detail names the setting."""
    view = view(
        lists(),
        *[reply(400, {"error": {"code": "Bad", "message": "No such package."}})] * 8,
        SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[1:3]),
    )

    assert (
        "Graph refuses the list: No such package (HTTP 400 Bad). "
        "Check the ids in SWEEP_ACCESS_PACKAGES."
    ) == view.get().body["detail"]


def test_access_packages_of_which_none_can_be_listed_are_a_problem(view):
    """That of the first."""
    view = view(FORBIDDEN, FORBIDDEN, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[1:3]))

    assert "urn:redeliver:problem:graph-denied" == view.get().body["type"]


def test_while_graph_is_down_not_every_access_package_is_asked_for(view):
    """Three in a row without an answer are an outage; all of them are named."""
    silent = [requests.ConnectionError()] * 5  # each is tried again
    view = view(lists(failed(1)), *silent * 3, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[1:8]))
    view.one.world.graph.sleep = lambda _: None

    body = view.get().body

    assert PACKAGES[2:8] == body["unlisted"]
    packages = {url.split("eq%20%27")[1][:36] for _, url in view.one.world.calls}
    assert set(PACKAGES[1:5]) == packages


@pytest.mark.parametrize(("numbers", "gaps"), [([1, 2, 2, 1], 0), ([1, 2, 2, 3], 1)])
def test_no_more_is_kept_than_memory_allows(view, numbers, gaps):
    """A tenant's old failures stay in Graph for ever. One that comes twice is not more."""
    view = view(lists(*map(failed, numbers)))
    graph, attempts = view.one.world.graph, view.one.attempts

    found = failures.read(graph, attempts, load({}), Deadline(10), most=2)

    assert [name_of(1), name_of(2)] == [one.request.id for one in found.ordered]
    assert ["There are more failed requests than the 2 that are listed here."] * gaps == [
        gap.problem.detail for gap in found.gaps
    ]


def test_names_that_graph_refuses_to_expand_cost_the_names(view):
    """Not the answer."""
    refused = reply(400, {"error": {"code": "BadRequest", "message": "No such expand."}})
    bare = {"id": name_of(1), "requestType": "userAdd", "state": "deliveryFailed"}
    view = view(*[refused] * 4, lists(bare))

    body = view.get().body

    assert (True, [name_of(1)]) == (
        body["listComplete"],
        [one["requestId"] for one in body["value"]],
    )


# -- the table --


@pytest.mark.parametrize(
    ("error", "how"),
    [(ServiceRequestError("x"), "ServiceRequestError"), (HttpResponseError("x"), "HTTP 403")],
    ids=["unreachable", "denied"],
)
@pytest.mark.parametrize("method", ["read_all", "last_sweep"])
def test_a_table_that_cannot_be_read_is_a_problem(view, monkeypatch, method, error, how):
    """Nobody can tell what is planned; Graph is not asked, and the answer says what to do."""
    if how.startswith("HTTP"):
        error.status_code = 403
    view = view()

    def unreadable(*_):
        raise error

    monkeypatch.setattr(view.one.attempts, method, unreadable)
    answer = view.get()

    assert {
        "type": "urn:redeliver:problem:attempts-unreadable",
        "title": "What was tried cannot be read",
        "status": 502,
        "detail": f"The table reprocessAttempts cannot be read ({how}), so it is not known what "
        "was tried: check AzureWebJobsStorage and the identity's role on its tables. Until then no "
        "sweep tries anything; a single request can still be reprocessed.",
        "instance": "run-1",
    } == answer.body
    assert [] == view.one.world.calls


def test_the_table_takes_half_of_the_time_at_most(view, monkeypatch):
    """So that Graph has the other half."""
    view = view(lists(), HTTP_BUDGET_SECONDS="20")
    seen = []

    def read_all(deadline):
        seen.append(deadline.left())
        return {}

    monkeypatch.setattr(view.one.attempts, "read_all", read_all)
    assert 200 == view.get().status

    assert 9 < seen[0] <= 10


# -- the door --


def test_nobody_unknown_gets_a_list(view, monkeypatch):
    """Nor learns what is wrong with the query."""
    monkeypatch.setattr(door, "LEVEL", "anonymous")
    view = view()

    assert (401, []) == (view.get(plan="dew").status, view.one.world.calls)


def test_a_request_of_which_only_the_sweep_knows_is_told_without_names():
    """As a notice tells it."""
    row = judged(
        Request(name_of(1), "deliveryFailed", "userRemove", NOW - DAY), None, load({}), NOW
    )

    assert {
        "requestId": name_of(1),
        "requestType": "userRemove",
        "removal": True,
        "state": "deliveryFailed",
        "completedAt": "2026-11-23T10:00:00Z",
        "windowEndsAt": "2026-12-07T10:00:00Z",
        "hoursLeft": 312.0,
        "attempts": 0,
        "plan": "due",
    } == item(row, NOW)


def test_who_is_known_is_told_of_wrong_settings(view):
    """Before anything is looked at."""
    answer = view(GRAPH_CLOUD="mars").get(plan="dew")

    assert (500, "urn:redeliver:problem:misconfigured") == (answer.status, answer.body["type"])


def test_the_names_of_a_row_are_the_columns():
    """In the same order, as one request that has them all shows."""
    whole = DetailedRequest(
        name_of(1), "deliveryFailed", "userAdd", NOW - DAY, NOW, "p", "P", "r", "R", "e", "status"
    )
    attempt = Attempt(name_of(1), 1, NOW, outcome="refused", refusal="Busy")

    row = judged(whole, attempt, load({}), NOW)

    assert list(NAMES) == list(item(row, NOW))


def test_a_failure_at_the_begin_of_time_has_no_next_attempt():
    """Services write the year 1 where they know no time; the longest of waits goes before it."""
    week = {"SWEEP_COOLDOWN_MINUTES": "10080", "SWEEP_COOLDOWN_MAX_MINUTES": "10080"}
    request = DetailedRequest(name_of(1), "deliveryFailed", "userAdd", NEVER)

    row = judged(
        request, Attempt(request.id, 1, NOW - DAY), load({"SWEEP_WINDOW_DAYS": "1", **week}), NOW
    )

    assert (Standing.EXPIRED, None) == (row.standing, row.next_attempt_at)
