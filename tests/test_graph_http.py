"""graph/http.py and graph/answer.py: what exactly is sent, and what exactly an error tells.

Not for: which calls there are and how they end (test_graph.py).
"""

from __future__ import annotations

import json
import ssl
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

import graph
from deadline import GRACE, Deadline
from graph import answer as module
from graph import http
from graph.answer import Answer, http_date, lower, read_answer, told_wait
from graph.http import new_session
from tests.calls import date
from tests.scripted import ID, NOW, REQUESTS, ROOT, World, entity, reply

REFUSED = requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused")))
OURS = {"User-Agent", "Accept-Encoding", "Connection"}  # what requests itself adds


def sent(world, number=0):
    """The headers of a call; the id that it had is checked and left out."""
    headers = dict(world.transport.sent[number].headers)
    assert 36 == len(headers.pop("client-request-id"))
    return {name: value for name, value in headers.items() if name not in OURS}


def error_of(step, method="GET", seconds=60.0):
    """What an error tells of a call that ends like this."""
    world = World([step])
    with pytest.raises(graph.GraphError) as caught:
        world.graph._http.send_once(method, "/x", world.deadline(seconds))
    error, [call] = caught.value, world.transport.sent
    assert call.headers["client-request-id"] == error.client_request_id
    return (
        type(error),
        error.detail,
        error.status,
        error.code,
        error.told_wait,
        error.lost,
        error.graph_request_id,
    )


# -- what is sent --

COMMON = {"Accept": "application/json", "Prefer": "include-unknown-enum-members"}


def test_each_call_says_who_it_is_and_what_it_takes():
    """A POST without a body says that it has none; only a batch has one."""
    answers = [reply(200, entity()), reply(202), reply(200, {"responses": []})]
    world = World(answers)

    world.graph.read(ID, world.deadline())
    world.graph.reprocess(ID, world.deadline())
    world.graph.read_each([ID], world.deadline(), batched=True)

    rest = world.credential.get_token("").token.partition(".")[2]
    tokens = [{"Authorization": f"Bearer token-{n}.{rest}"} for n in (1, 2, 3)]
    body = world.transport.sent[2].body
    assert [
        COMMON | tokens[0],
        COMMON | tokens[1] | {"Content-Length": "0"},
        COMMON | tokens[2] | {"Content-Length": str(len(body)), "Content-Type": "application/json"},
    ] == [sent(world, n) for n in range(3)]
    [item] = json.loads(body)["requests"]
    assert {"client-request-id"} == item.pop("headers").keys()
    path = f"{REQUESTS.removeprefix(ROOT)}/{ID}"
    assert {"id": "0", "method": "GET", "url": path} == item


@pytest.mark.parametrize(
    ("seconds", "waits"), [(60, (5.0, 30.0)), (20, (5.0, 20.001)), (3, (3.001, 3.001))]
)
def test_no_call_waits_longer_than_its_deadline(seconds, waits):
    """For a connection, and for the next byte."""
    world = World([reply(200, entity())])

    world.graph.read(ID, world.deadline(seconds))

    assert [pytest.approx(waits)] == world.transport.timeouts


def test_without_time_nothing_is_sent():
    """And no token is asked for."""
    world = World([])

    with pytest.raises(graph.GraphTimeout) as caught:
        world.graph._http.send_once("POST", "/x", world.deadline(0))

    assert "the time for this call was used up before it was sent" == caught.value.detail
    assert not caught.value.lost
    assert ([], []) == (world.calls, world.credential.asked)


@pytest.mark.parametrize("url", [f"{ROOT}x/y", f"{ROOT}", "https://evil.example/", ""])
def test_an_address_that_is_not_below_our_version_is_refused(url):
    """Before a token is asked for."""
    world = World([])

    with pytest.raises(graph.GraphFailed) as caught:
        world.graph._http.send_once("GET", url, world.deadline())

    assert "Graph's nextLink leaves the Graph root; it was not followed" == caught.value.detail
    assert ([], []) == (world.calls, world.credential.asked)


@pytest.mark.parametrize(("wanted", "kept"), [(8, 32), (64, 64)])
def test_a_session_keeps_enough_connections_and_knows_of_no_proxy(wanted, kept):
    """Nor does it read a .netrc, or try again by itself."""
    session = new_session(wanted)

    assert session.trust_env is False
    for scheme in ("https", "http"):
        adapter = session.get_adapter(f"{scheme}://graph.microsoft.com")
        assert (kept, 0) == (adapter._pool_maxsize, adapter.max_retries.total)


# -- what an error tells --

FAILED, DENIED, LIMITED, NO = (
    graph.GraphFailed,
    graph.GraphDenied,
    graph.GraphThrottled,
    graph.GraphRefused,
)
STRANGE = "Graph answered neither success nor error; it was not followed"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (302, (FAILED, STRANGE, 302, "", None, False)),
        (399, (FAILED, STRANGE, 399, "", None, False)),
        (400, (NO, "Graph answered HTTP 400", 400, "", None, False)),
        (401, (DENIED, "Graph answered HTTP 401", 401, "", None, False)),
        (403, (DENIED, "Graph answered HTTP 403", 403, "", None, False)),
        (404, (graph.RequestNotFound, "Graph answered HTTP 404", 404, "", None, False)),
        (429, (LIMITED, "Graph answered HTTP 429", 429, "", 7.0, False)),
        (499, (NO, "Graph answered HTTP 499", 499, "", None, False)),
        (500, (FAILED, "Graph answered HTTP 500", 500, "", 7.0, True)),
        (501, (NO, "Graph answered HTTP 501", 501, "", None, False)),
        (502, (FAILED, "Graph answered HTTP 502", 502, "", 7.0, True)),
        (503, (LIMITED, "Graph answered HTTP 503", 503, "", 7.0, True)),
        (504, (FAILED, "Graph answered HTTP 504", 504, "", 7.0, True)),
        (505, (FAILED, "Graph answered HTTP 505", 505, "", None, True)),
    ],
)
def test_what_a_status_means(status, told):
    """And whether Graph's wait counts, and whether it may have been carried out."""
    answer = reply(status, None, Retry_After="7", request_id="g-1")
    if status == 401:  # a second one, with a new token
        world = World([answer, answer])
        with pytest.raises(graph.GraphDenied) as caught:
            world.graph._http.send_once("GET", "/x", world.deadline())
        assert (told[1], 401, 2) == (caught.value.detail, caught.value.status, len(world.calls))
        return

    assert (*told, "g-1") == error_of(answer)


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        ({"code": "C" * 101, "message": "M" * 501}, "C" * 100, "M" * 500),
        ({"code": None, "message": ""}, "", "Graph answered HTTP 400"),
        ({"code": 7}, "7", "Graph answered HTTP 400"),
        ("no object", "", "Graph answered HTTP 400"),
    ],
)
def test_graphs_own_words_are_kept_and_cut(error, code, detail):
    """As far as a log line has room for them."""
    assert (NO, detail, 400, code, None, False, "") == error_of(reply(400, {"error": error}))


@pytest.mark.parametrize("body", [None, [1], "x"])
def test_a_body_that_is_no_object_has_no_words(body):
    """The status is told then."""
    assert (NO, "Graph answered HTTP 400", 400, "", None, False, "") == error_of(reply(400, body))


@pytest.mark.parametrize(
    ("step", "kind", "detail", "lost"),
    [
        (REFUSED, FAILED, "Graph could not be reached", False),
        (requests.ConnectTimeout(), graph.GraphTimeout, "Graph gave no answer in time", False),
        (requests.ReadTimeout(), graph.GraphTimeout, "Graph gave no answer in time", True),
        (TimeoutError(), graph.GraphTimeout, "Graph gave no answer in time", True),
        (requests.exceptions.InvalidURL(), FAILED, "Graph could not be reached", False),
        (
            requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")),
            FAILED,
            "Graph's certificate could not be verified",
            False,
        ),
        (
            requests.ConnectionError("reset"),
            FAILED,
            "the connection to Graph broke before its answer came",
            True,
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_broken_connection_means(step, kind, detail, lost):
    """Whether the call surely never left."""
    assert (kind, detail, None, "", None, lost, "") == error_of(step, "POST")


@pytest.mark.parametrize("how", ["__cause__", "__context__", "reason", "args"])
def test_a_cause_is_found_however_it_is_wrapped(how):
    """Libraries do it in each of these ways, and there may be others beside it."""
    unsent = NewConnectionError(None, "refused")
    wrapped = requests.ConnectionError(1, unsent)
    if how != "args":
        wrapped = requests.ConnectionError(1, ValueError("harmless"))
        setattr(wrapped, how, unsent)

    expected = (FAILED, "Graph could not be reached", None, "", None, False, "")
    assert expected == error_of(requests.ConnectionError(1, wrapped))


def test_a_circle_of_causes_ends_and_a_reason_may_be_a_text():
    """Each is looked at once, and what is no error is passed over."""
    one, two = requests.ConnectionError("1"), requests.ConnectionError("2")
    one.reason = "text"
    one.__cause__, two.__cause__ = two, one

    assert "the connection to Graph broke before its answer came" == error_of(one)[1]


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"<html>", "Graph's answer is not whole or not JSON"),
        (b"[1]", "Graph's answer is not a JSON object"),
        (b"", "Graph's answer is not a JSON object"),
    ],
)
def test_a_success_of_no_use_is_lost(raw, detail):
    """It says nothing of what Graph has done."""
    answer = reply(200, raw, request_id="g-1")

    assert (FAILED, detail, 200, "", None, True, "g-1") == error_of(answer)


def test_a_page_of_html_is_nobodys_acceptance_and_other_words_are_no_harm():
    """A POST needs no body back; but a proxy's page is not Graph's."""
    page = reply(202, b"<html>", Content_Type="text/html; charset=utf-8")
    world = World([reply(202, b"OK"), reply(202, b"OK", Content_Type="text/plain")])

    for _ in range(2):
        answer = world.graph._http.send_once("POST", "/x", world.deadline())
        assert (202, None) == (answer.status, answer.body)
    assert "Graph's answer is not whole or not JSON" == error_of(page, "POST")[1]


# -- the body --


class Raw:
    """A response that hands out these parts, and takes a second for each."""

    def __init__(self, parts, time):
        self.parts, self.time, self.asked = list(parts), time, []

    def read1(self, *size, **options):
        self.asked.append((size, options))
        self.time[0] += 1
        return self.parts.pop(0) if self.parts else b""


def read(parts, seconds=60):
    """Read a body, and return it and how it was asked for."""
    time = [0.0]
    raw = Raw(parts, time)
    response = SimpleNamespace(status_code=200, headers={"Request-Id": "g-1"}, raw=raw)
    answer = read_answer(response, Deadline(seconds, lambda: time[0]), "c-1", wanted=True)
    assert Answer(200, {"request-id": "g-1"}, answer.body, "c-1") == answer
    return answer.body, raw.asked


def test_a_body_is_read_in_parts_and_decoded():
    """So that it is never larger in memory than what is allowed."""
    ask = ((65536,), {"decode_content": True})

    assert ({"a": 1}, [ask] * 3) == read([b'{"a"', b": 1}"])


@pytest.mark.parametrize(
    ("parts", "seconds", "why"),
    [
        ([b'{"a": 1}', b" "], 60, None),
        ([b'{"a": 1}', b"  "], 60, "body too large"),
        ([b'{"a": 1}'], 1.5, None),
        ([b'{"a": 1}'], 1, "body too slow"),
    ],
)
def test_a_body_has_an_end_in_bytes_and_in_time(monkeypatch, parts, seconds, why):
    """At the limit it is taken; beyond it is of no use, and the reason is in the trace."""
    monkeypatch.setattr(module, "LARGEST_BODY", 9)
    if why is None:
        assert {"a": 1} == read(parts, seconds)[0]
        return

    with pytest.raises(graph.GraphFailed) as caught:
        read(parts, seconds)
    assert (why, "c-1") == (str(caught.value.__cause__), caught.value.client_request_id)
    slow = (graph.GraphTimeout, "Graph's answer did not come whole in time")
    large = (graph.GraphFailed, "Graph's answer is not whole or not JSON")
    assert (slow if "slow" in why else large) == (type(caught.value), caught.value.detail)


def test_a_body_that_falls_silent_is_waited_for_until_just_after_the_deadline(monkeypatch):
    """So that the body's own time-outs, which tell more, come first."""
    waits = []

    def bounded(seconds, function):
        waits.append(seconds)
        return function()

    monkeypatch.setattr(module, "bounded", bounded)
    read([b"{}"], 60)

    assert [60 + GRACE] == waits


def test_headers_that_drip_do_not_keep_a_call_from_ending(monkeypatch):
    """Each byte would begin every time-out anew; it may have been carried out."""
    monkeypatch.setattr(http, "GRACE", 0.01)
    ended = threading.Event()

    def dripping():
        ended.wait(5)
        return reply(202)

    world = World([dripping])
    with pytest.raises(graph.GraphTimeout) as caught:
        world.graph._http.send_once("POST", "/x", world.deadline(0.05))
    ended.set()

    assert ("Graph gave no answer in time", True) == (caught.value.detail, caught.value.lost)
    assert "headers too slow" == str(caught.value.__cause__)


# -- what headers tell --


def test_a_wait_until_a_time_is_counted_by_our_clock_where_graph_shows_none():
    """It has no `Date` then."""
    until = reply(429, None, Retry_After=date(NOW + timedelta(seconds=9)))

    assert 9.0 == error_of(until)[4]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"A-b": 1, 2: "x"}, {"a-b": "1", "2": "x"}), (None, {}), (["a"], {})],
)
def test_headers_are_found_by_lower_case_names(headers, expected):
    """What is no header is left out."""
    assert expected == lower(headers)


THEIRS = NOW - timedelta(hours=2)  # Graph's clock


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1"}, 1.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": " 2 , 3.5 "}, 3.5),
        ({"retry-after": date(THEIRS + timedelta(seconds=9)), "date": date(THEIRS)}, 9.0),
        ({"retry-after": date(NOW + timedelta(seconds=9))}, 9.0),
        ({"retry-after": date(NOW)}, None),
        ({"retry-after": "1," * 200 + "9"}, 9.0),
        ({"retry-after": "11," + "1," * 98 + "1x"}, None),
    ],
)
def test_a_wait_is_told_in_seconds_or_as_a_time_by_graphs_clock(headers, seconds):
    """However many there are, the longest counts; one that is no number makes it no wait."""
    assert seconds == told_wait(Answer(429, headers, None, ""), NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tue, 24 Nov 2026 10:00:00 GMT", NOW),
        ("Tue, 24 Nov 2026 10:00:00 -0000", NOW),
        ("Tue, 24 Nov 2026 12:00:00 +0200", NOW),
        ("Tue, 24 Nov 2026", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_a_time_with_a_zone(text, expected):
    """Or it is none."""
    found = http_date(text)

    assert expected == found
    assert found is None or found.tzinfo is not None


# -- Graph's clock --


def accepted_at(world, **options):
    """When Graph took on a reprocess, by its clock."""
    return world.graph.reprocess(ID, world.deadline(), **options).at


def test_an_acceptance_has_the_time_of_its_own_answer():
    """Up to a second early, since a date has no fractions, and never late."""
    world = World([reply(202, None, Date=date(NOW + timedelta(seconds=s))) for s in (10, 10)])

    first = accepted_at(world)
    world.time = 0.5  # Graph's clock is known to be 10 seconds ahead

    assert [NOW + timedelta(seconds=10)] * 2 == [first, accepted_at(world)]
    assert NOW + timedelta(seconds=10.5) == world.graph.now()


def test_an_acceptance_in_a_batch_has_the_time_of_the_whole_answer():
    """Where its item has none of its own."""
    whole = date(NOW + timedelta(seconds=10))
    items = [{"id": "0", "status": 202}, {"id": "1", "status": 202, "headers": {"Date": date(NOW)}}]
    world = World([reply(202, None, Date=whole), reply(200, {"responses": items}, Date=whole)])
    accepted_at(world)
    world.time = 0.5

    both = world.graph.reprocess_each([ID, ID], world.deadline(), batched=True)

    assert [NOW + timedelta(seconds=10), NOW] == [one.at for one in both]


@pytest.mark.parametrize("days", [1, -1, 400])
def test_a_clock_that_is_a_day_off_is_not_believed(days):
    """Ours counts then."""
    world = World([reply(202, None, Date=date(NOW + timedelta(days=days)))])

    assert (NOW, NOW) == (accepted_at(world), world.graph.now())


@pytest.mark.parametrize("seconds", [86399, -86399])
def test_a_clock_that_is_less_than_a_day_off_is_believed(seconds):
    """A second less is enough; behind it is known to a second."""
    theirs = NOW + timedelta(seconds=seconds)
    world = World([reply(202, None, Date=date(theirs))])

    assert theirs == accepted_at(world)
    assert max(theirs, NOW + timedelta(seconds=min(seconds + 1, 0))) == world.graph.now()


def test_a_call_that_took_long_says_no_more_of_the_clock_than_it_can():
    """Graph's date lies somewhere between sending and now."""
    world = World([])

    def slow():
        world.time += 10
        return reply(202, None, Date=date(NOW + timedelta(seconds=5)))

    world.transport.script = [slow]
    accepted_at(world)

    assert NOW + timedelta(seconds=10) == world.graph.now()


# -- the errors themselves --


def test_an_error_is_told_in_a_sentence_and_in_a_log_line():
    """What is not known is left out of the one, and None in the other."""
    known = graph.GraphRefused(
        "No.", status=400, code="C", graph_request_id="g-1", client_request_id="c-1"
    )
    unknown = graph.GraphFailed("gone")

    assert ["No (HTTP 400 C)", "gone", "No (HTTP 500)"] == [
        known.described,
        unknown.described,
        graph.GraphFailed("No.", status=500).described,
    ]
    names = ("graphStatus", "graphErrorCode", "detail", "graphRequestId", "clientRequestId")
    assert [
        dict(zip(names, (400, "C", "No.", "g-1", "c-1"), strict=True)),
        dict(zip(names, (None, None, "gone", None, None), strict=True)),
    ] == [known.fields(), unknown.fields()]
    assert (None, False) == (unknown.told_wait, unknown.lost)


# -- waiting --


def test_jitter_is_added_to_every_wait():
    """A told wait is never shortened by it."""
    world = World([reply(429, None, Retry_After="7"), reply(429), reply(202)])
    world.graph._http.jitter = lambda: 0.25

    world.graph.reprocess(ID, world.deadline())

    assert [7.25, 2.25] == world.slept


def test_own_waits_end_at_thirty_seconds():
    """However often it was tried."""
    http = World([]).graph._http

    assert [1.0, 16.0, 30.0, 30.0] == [http._wait_before(n, None) for n in (1, 5, 6, 99)]


@pytest.mark.parametrize(("seconds", "slept"), [(7, []), (7.001, [7.0])])
def test_a_wait_that_ends_with_the_deadline_is_not_begun(seconds, slept):
    """Nothing could be done after it."""
    world = World([reply(429, None, Retry_After="7")] * 2)

    with pytest.raises(graph.GraphThrottled):
        world.graph._http.send("GET", "/x", world.deadline(seconds))

    assert slept == world.slept


@pytest.mark.parametrize(("told", "seconds"), [("4.9", []), ("5", [5.0]), ("7.26", [7.3])])
def test_waits_from_five_seconds_on_are_logged(caplog, told, seconds):
    """To a tenth of a second."""
    world = World([reply(429, None, Retry_After=told), reply(202)])

    with caplog.at_level("INFO", "redeliver"):
        world.graph.reprocess(ID, world.deadline())

    assert seconds == [json.loads(record.message)["seconds"] for record in caplog.records]
