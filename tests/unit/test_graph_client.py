"""graph/client.py: what exactly is sent and how often, as one call, one `$batch`, or one by one.

Not for: what a status or a header means (test_graph_outcome.py), or sockets (test_session.py).
"""

from __future__ import annotations

import json
from datetime import timedelta
from unittest.mock import Mock

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

import graph
import session
from graph.client import Call
from graph.outcome import REMEDIES, WRITE_ROLE
from graph.tokens import RENEW
from tests.support.scripted_transport import ID, NOW, ROOT, World, reply

UNREACHED = requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused")))
DROPPED = requests.ConnectionError("Remote end closed connection without response")
SILENT = requests.ReadTimeout("Read timed out.")
POSTS = [Call("POST", f"/p{n}") for n in range(4)]
GET, POST = Call("GET", "/g"), POSTS[0]
OK = reply(200, {"id": "x"})
NO = {"error": {"code": "C", "message": "M"}}


def items(*answers, **headers):
    """A `$batch` answer: statuses, or whole items, in the order of the calls."""
    found = [
        {"id": str(n), **(one if isinstance(one, dict) else {"status": one, "body": NO})}
        for n, one in enumerate(answers)
    ]
    return reply(200, {"responses": found}, **headers)


def sent(script, *calls, seconds=60, **environ):
    """Send calls over a scripted Graph."""
    world = World(script, **environ)
    return world, world.graph._client.send(calls, world.deadline(seconds))


def kinds(outcomes):
    names = [type(one).__name__.removeprefix("Graph") for one in outcomes]
    pairs = zip(names, outcomes, strict=True)
    return ["ok" if name == "Answer" else f"{name} {one.status}" for name, one in pairs]


def paths(world):
    """What was sent: the path below the version, of a batch those of its items."""
    found = []
    for one in world.transport.sent:
        batch = one.url.endswith("/$batch") and json.loads(one.body)["requests"]
        found.append([item["url"] for item in batch] if batch else one.url.removeprefix(ROOT))
    return found


def lines(caplog):
    return [json.loads(record.message) for record in caplog.records]


# -- one call --


@pytest.mark.parametrize(("call", "more"), [(GET, {}), (POST, {"Content-Length": "0"})])
def test_a_call_says_who_it_is_and_what_it_takes(call, more):
    """A POST has no body and says so. Each call has an id of its own."""
    world, (answer,) = sent([OK], call)
    (one,) = world.transport.sent
    of_requests = {"User-Agent", "Accept-Encoding", "Connection"}
    headers = {k: v for k, v in one.headers.items() if k not in of_requests}

    assert (call.method, ROOT + call.path, None) == (one.method, one.url, one.body)
    assert {
        "Authorization": f"Bearer {world.credential.get_token('').token.replace('-2', '-1')}",
        "client-request-id": answer.client_request_id,
        "Accept": "application/json",
        "Prefer": "include-unknown-enum-members",
    } | more == headers
    assert 36 == len(answer.client_request_id)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_a_success_with_the_time_and_id_of_graph(status):
    answer = reply(status, Date="Tue, 24 Nov 2026 10:00:09 GMT", request_id="g-1")
    _, (answer,) = sent([answer], POST)

    assert (NOW + timedelta(seconds=9), "g-1") == (answer.at, answer.graph_request_id)


@pytest.mark.parametrize(("call", "raw", "kind"), [
    (POST, b"<html>", "Failed 200"),
    (POST, b"[" * 100_000, "Failed 200"),
    (POST, b"[1]", "ok"),
    (POST, b"", "ok"),
    (GET, b"[1]", "Failed 200"),
    (GET, b"", "Failed 200"),
])  # fmt: skip
def test_a_success_that_is_not_json_says_nothing(call, raw, kind):
    """A proxy's page is not Graph's answer; who reads needs an object."""
    _, (outcome,) = sent([reply(200, raw, request_id="g-1")], call)

    assert [kind] == kinds([outcome])
    if kind != "ok":
        assert (True, "g-1") == (outcome.outcome_unknown, outcome.graph_request_id)
        assert "Graph's answer is not the JSON object expected" == outcome.detail


@pytest.mark.parametrize("status", [300, 302])
def test_a_redirect_is_not_followed(status):
    """Nor is its body read."""
    world, (outcome,) = sent([reply(status, NO, Location="https://evil.example/")], POST)

    assert (status, "", False) == (outcome.status, outcome.code, outcome.outcome_unknown)
    assert 1 == len(world.calls)


@pytest.mark.parametrize(("status", "kind"), [(409, "Refused 409"), (200, "Failed None")])
def test_an_error_whose_words_break_off_is_still_that_error(status, kind):
    """A success is only one when its body came whole."""
    world, outcomes = sent([reply(status, b'{"err', Content_Length="99")], GET)

    assert [kind] == kinds(outcomes)
    header = world.transport.sent[0].headers["client-request-id"]
    assert header == outcomes[0].client_request_id


@pytest.mark.parametrize("step", [UNREACHED, DROPPED, SILENT, *map(reply, (429, 500, 503, 400, 403))], ids=str)  # fmt: skip
def test_a_post_is_sent_once_and_waits_for_nothing(step):
    world, (outcome,) = sent([step], POST)

    assert isinstance(outcome, graph.GraphError)
    assert (step is UNREACHED, step is SILENT) == (
        outcome.never_sent, isinstance(outcome, graph.GraphTimeout),
    )  # fmt: skip
    assert (1, []) == (len(world.calls), world.slept)


def test_without_time_nothing_is_sent():
    world, (outcome,) = sent([], POST, seconds=0)

    assert (graph.GraphTimeout, True, []) == (type(outcome), outcome.never_sent, world.calls)
    assert "no time was left to send this call" == outcome.detail


@pytest.mark.parametrize(("seconds", "longest"), [(60, 30), (20, 20)])
def test_sending_ends_with_the_deadline_and_after_30_seconds(seconds, longest):
    bounds = []

    def answer():
        bounds.append(session._deadline.get().left())
        return OK

    world, _ = sent([answer], GET, seconds=seconds)

    assert [longest] == bounds
    assert [longest + 0.001] == world.transport.timeouts  # the session's own bound comes first


# -- the token --


def tokens(world):
    """The number of the token of each call."""
    return [one.headers["Authorization"].split(".")[0] for one in world.transport.sent]


@pytest.mark.parametrize(("steps", "kind"), [
    ([reply(401), reply(202)], "ok"),
    ([reply(401)] * 2, "Denied 401"),
    ([reply(401), DROPPED], "Failed None"),
])  # fmt: skip
def test_401_is_sent_once_more_with_a_new_token(steps, kind):
    """One that is not the cached one; whatever that comes to is the outcome."""
    world, outcomes = sent(steps, POST)

    assert [kind] == kinds(outcomes)
    assert ["Bearer token-1", "Bearer token-2"] == tokens(world)
    assert [{"claims": None}, {"claims": RENEW}] == [asked for _, asked in world.credential.asked]


@pytest.mark.parametrize(("script", "came_to", "again"), [
    ([items(202, 401, 401), items(202, 401)], ["ok", "ok", "Denied 401"], ["/p1", "/p2"]),
    ([items(202, 401), reply(202)], ["ok", "ok"], "/p1"),
    ([reply(401), items(202, 202)], ["ok", "ok"], ["/p0", "/p1"]),
])  # fmt: skip
def test_of_a_batch_what_was_401_is_sent_once_more(script, came_to, again):
    """Graph did nothing for it. A batch that was 401 itself is sent once more as a batch."""
    world, outcomes = sent(script, *POSTS[: len(came_to)])

    assert came_to == kinds(outcomes)
    assert [["/p0", "/p1", "/p2"][: len(came_to)], again] == paths(world)
    assert ["Bearer token-1", "Bearer token-2"] == tokens(world)


def test_what_was_401_is_not_sent_once_more_while_graph_asks_to_wait():
    """It goes back to be sent later, with the same wait."""
    wait = {"status": 429, "headers": {"Retry-After": "7"}}
    world, outcomes = sent([items(401, wait)], *POSTS[:2])

    assert (["Throttled None", "Throttled 429"], 1) == (kinds(outcomes), len(world.calls))
    assert (7.0, True) == (outcomes[0].retry_after, outcomes[0].never_sent)


def test_without_a_token_nothing_is_sent():
    world = World([])
    world.credential.get_token = Mock(side_effect=KeyError)

    first, second = world.graph._client.send(POSTS[:2], world.deadline())

    assert first is second
    assert (graph.GraphFailed, True, []) == (type(first), first.never_sent, world.calls)


@pytest.mark.parametrize(("roles", "packages", "cause"), [
    ([], ID, "role scope"), ([WRITE_ROLE], "", "licence"),
])  # fmt: skip
def test_a_denial_goes_by_the_token_and_by_the_packages_that_are_set(roles, packages, cause):
    world = World([reply(403)], SWEEP_ACCESS_PACKAGES=packages)
    world.credential.roles = roles

    (denied,) = world.graph._client.send([POST], world.deadline())

    assert REMEDIES[cause] == denied.remedy


# -- $batch --


def test_a_batch_has_an_item_for_each_call():
    """As Graph's page on batching asks for: a POST without a payload has an empty body, too."""
    script = [items(202, {"status": 200, "body": {}})]
    world, outcomes = sent(script, POST, GET, GRAPH_BATCH_SIZE="2")
    (one,) = world.transport.sent
    ids = [{"client-request-id": outcome.client_request_id} for outcome in outcomes]

    assert (f"{ROOT}/$batch", "application/json") == (one.url, one.headers["Content-Type"])
    assert ids[0] != ids[1]
    post = {"headers": ids[0] | {"Content-Type": "application/json"}, "body": {}}
    assert [
        {"id": "0", "method": "POST", "url": "/p0"} | post,
        {"id": "1", "method": "GET", "url": "/g", "headers": ids[1]},
    ] == json.loads(one.body)["requests"]


def test_each_item_of_a_batch_is_what_the_single_call_is():
    """In any order, by their ids; what has no status may have been carried out."""
    responses = [
        "junk",
        {"id": "2", "status": 404, "body": NO},
        {"id": None},
        {"id": "1", "status": 502, "headers": ["junk"]},
        {"id": "0", "status": 202, "headers": {"Request-Id": "g-0"}},
        {"id": "3", "status": "202"},
        {"id": "99", "status": 202},
    ]
    answer = reply(200, {"responses": responses})
    _, outcomes = sent([answer], *POSTS, GET)

    unread = ["Failed None"] * 2
    assert ["ok", "Failed 502", "RequestNotFound 404", *unread] == kinds(outcomes)
    assert "g-0" == outcomes[0].graph_request_id
    assert ("C", "M") == (outcomes[2].code, outcomes[2].detail)
    for one in outcomes[3:]:
        assert (True, 36) == (one.outcome_unknown, len(one.client_request_id))
        assert "Graph's $batch answer lacks this request" == one.detail


def test_an_item_has_the_headers_of_the_whole_answer_unless_it_has_its_own():
    """Its date and its Retry-After; not its request id."""
    own = [
        {"status": 202, "headers": {"Date": "Tue, 24 Nov 2026 10:00:05 GMT"}},
        {"status": 429, "headers": {"retry-after": 5}},
    ]
    whole = {"Date": "Tue, 24 Nov 2026 10:00:09 GMT", "Retry_After": "9", "request_id": "g"}
    answer = items(202, own[0], 429, own[1], **whole)
    _, outcomes = sent([answer], *POSTS)

    assert [9, 5] == [(one.at - NOW).total_seconds() for one in outcomes[:2]]
    assert [9.0, 5.0] == [one.retry_after for one in outcomes[2:]]
    assert not outcomes[0].graph_request_id


BROKEN = b'{"responses":[{"id":"0","status":202,"body":{"value":[{}}]}'


@pytest.mark.parametrize(("broken", "detail"), [
    (BROKEN, "Graph's answer is not the JSON object expected"),
    (b'{"responses": {}}', "Graph's $batch answer has no list of responses"),
])  # fmt: skip
def test_an_unreadable_batch_is_not_judged_and_the_next_calls_go_singly(broken, detail, caplog):
    """A bracket short, each time [seen: microsoft-graph-docs#12951, contrib#8605]."""
    world = World([reply(200, broken), *[reply(202)] * 2])
    client = world.graph._client

    first = client.send(POSTS[:2], world.deadline())
    second = client.send(POSTS[2:], world.deadline())

    assert [("Failed 200", True)] * 2 == [(*kinds([one]), one.outcome_unknown) for one in first]
    assert ["ok", "ok"] == kinds(second)
    assert [["/p0", "/p1"], "/p2", "/p3"] == paths(world)
    (line,) = lines(caplog)
    assert ("batch not accepted", detail) == (line["event"], line["detail"])


def test_a_batch_that_failed_in_part_is_read_like_any_other(caplog):
    """Graph's page on throttling has 424 for it; what was accepted is not sent once more.

    [seen: microsoft-graph-docs-contrib#8883]
    """
    parts = [{"id": "0", "status": 202}, {"id": "1", "status": 429, "headers": {"Retry-After": 2}}]
    world, outcomes = sent([reply(424, {"responses": parts})], *POSTS[:2])
    unread, unknown = sent([reply(424, BROKEN)], *POSTS[:2])

    assert ["ok", "Throttled 429"] == kinds(outcomes)
    assert all(one.outcome_unknown for one in unknown)
    assert (1, 1, 1) == (len(world.calls), len(unread.calls), len(lines(caplog)))


@pytest.mark.parametrize("refusal", [reply(400, NO), reply(403, NO), reply(404, NO), reply(404), reply(413)])  # fmt: skip
def test_calls_of_a_refused_batch_go_singly_from_then_on(refusal, caplog):
    world = World([refusal, *[reply(202)] * 4])
    client = world.graph._client

    outcomes = client.send(POSTS[:2], world.deadline()) + client.send(POSTS[2:], world.deadline())

    assert ["ok"] * 4 == kinds(outcomes)
    assert [["/p0", "/p1"], "/p0", "/p1", "/p2", "/p3"] == paths(world)
    assert ["Bearer token-1"] * 3 + ["Bearer token-2"] * 2 == tokens(world)
    (line,) = lines(caplog)
    assert ("batch not accepted", refusal[0]) == (line["event"], line["graphStatus"])
    assert line["detail"].startswith("M" if refusal[1] else f"Graph answered HTTP {refusal[0]}")


@pytest.mark.parametrize("step", [*map(reply, (429, 503, 500)), DROPPED, UNREACHED], ids=str)
def test_what_befalls_a_whole_batch_befalls_each_of_its_calls(step):
    """It is not sent again, and the next ones are batches again."""
    world = World([step, items(202, 202)])
    client = world.graph._client

    first, second = client.send(POSTS[:2], world.deadline())
    assert first == second
    assert ["ok", "ok"] == kinds(client.send(POSTS[:2], world.deadline()))
    assert ([["/p0", "/p1"]] * 2, []) == (paths(world), world.slept)


@pytest.mark.parametrize(("before", "status"), [(0, 429), (1, 503)])
def test_when_graph_asks_to_wait_the_rest_of_the_single_calls_is_not_sent(before, status):
    """They have the same wait."""
    script = [*[reply(202)] * before, reply(status, Retry_After="7")]
    _, outcomes = sent(script, *POSTS, GRAPH_BATCH_SIZE="1")

    rest = ["Throttled None"] * (3 - before)
    assert [*["ok"] * before, f"Throttled {status}", *rest] == kinds(outcomes)
    asked = outcomes[before + 1 :]
    not_sent = "not sent, because Graph asks to wait"
    assert [(7.0, True, not_sent)] * len(rest) == [
        (one.retry_after, one.never_sent, one.detail) for one in asked
    ]


def test_single_calls_share_the_deadline():
    """What was not sent by then was never sent."""
    world = World([], GRAPH_BATCH_SIZE="1")

    def slow():
        world.time += 4
        return reply(202)

    world.transport.script = [slow] * 2
    outcomes = world.graph._client.send(POSTS, world.deadline(7))

    assert ["ok", "ok", "Timeout None", "Timeout None"] == kinds(outcomes)
    assert "no time was left to send this call" == outcomes[-1].detail
    assert all(one.never_sent for one in outcomes[2:])


@pytest.mark.parametrize(("alone", "came_to", "singly"), [
    (reply(202), ["ok"] * 3, ["/p1", "/p2"]),
    (reply(400, NO), ["Refused 400"] * 3, []),
    (reply(502), ["Failed 502", "Failed None", "Failed None"], []),
])  # fmt: skip
def test_a_first_batch_that_is_refused_whole_is_not_believed_before_one_is_sent_alone(
    alone, came_to, singly, caplog
):
    """Graph may know the request and not take it in a batch."""
    world, outcomes = sent([items(400, 400, 400), alone, *[reply(202)] * 2], *POSTS[:3])

    assert came_to == kinds(outcomes)
    assert [["/p0", "/p1", "/p2"], "/p0", *singly] == paths(world)
    assert (bool(singly), {"Bearer token-1"}) == (bool(lines(caplog)), set(tokens(world)))
    if alone == reply(502):
        not_known = "not sent, because it is not known whether Graph takes a $batch"
        assert (True, not_known) == (outcomes[2].never_sent, outcomes[2].detail)


def test_once_a_refusal_was_seen_alone_batches_are_believed():
    world = World([items(400, 400), reply(400, NO), items(400, 400)])

    for _ in range(2):
        outcomes = world.graph._client.send(POSTS[:2], world.deadline())
        assert ["Refused 400"] * 2 == kinds(outcomes)
    assert 3 == len(world.calls)


@pytest.mark.parametrize("answers", [(202, 400), (400, 409), (429, 429), (502, 502)])
def test_a_first_batch_that_is_not_refused_alike_is_believed(answers):
    assert 1 == len(sent([items(*answers)], *POSTS[:2])[0].calls)


# -- retrying a GET --


def got(script, seconds=60.0, jitter=0.0, path="/g"):
    """Get over a scripted Graph; return what came of it and the waits."""
    world = World(script)
    world.graph._client._jitter = lambda: jitter
    try:
        outcome = world.graph._client.get(path, world.deadline(seconds))
    except graph.GraphError as error:
        outcome = error
    return world, *kinds([outcome]), world.slept


@pytest.mark.parametrize("step", [UNREACHED, DROPPED, SILENT, reply(200, b"[1]"), *map(reply, (429, 500, 502, 503, 504))], ids=str)  # fmt: skip
def test_a_get_that_failed_is_sent_again(step):
    """Reading changes nothing."""
    assert ("ok", [1.0]) == got([step, OK])[1:]


def test_a_get_is_given_up_after_five_attempts():
    """Waits double in between."""
    assert ("Failed 500", [1.0, 2.0, 4.0, 8.0]) == got([reply(500)] * 5)[1:]


@pytest.mark.parametrize("step", [*map(reply, (300, 302, 400, 403, 404, 409, 501, 505))], ids=str)
def test_an_answer_that_will_not_change_is_final(step):
    assert [] == got([step])[2]


@pytest.mark.parametrize(("told", "jitter", "slept"), [
    (["7"], 0.25, [7.25]),
    (["1"] * 6, 0.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]),
    (["40", "40"], 0.0, [40.0, 40.0]),
    (["3", None], 0.5, [3.5, 6.5]),
    (["0.2", None], 0.0, [0.2, 0.4]),
    ([None] * 6, 0.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]),
])  # fmt: skip
def test_a_wait_that_graph_asks_for_is_kept_and_doubles_where_it_proves_too_short(
    told, jitter, slept
):
    """Jitter is only added; while there is time a throttled GET goes on.

    [seen: msgraph-sdk-javascript#297]
    """
    script = [reply(429, None, **({"Retry_After": one} if one else {})) for one in told]

    assert ("ok", slept) == got([*script, OK], 1500, jitter)[1:]


@pytest.mark.parametrize(("seconds", "slept"), [(7, []), (7.001, [7.0])])
def test_a_wait_that_ends_with_the_deadline_is_not_begun(seconds, slept):
    assert ("Throttled 429", slept) == got([reply(429, Retry_After="7")] * 2, seconds)[1:]


def test_waits_from_five_seconds_on_are_logged(caplog):
    caplog.set_level("INFO", "redeliver")
    waits = [reply(429, NO, Retry_After=told, request_id="g-1") for told in ("2.4", "5", "10.26")]
    got([*waits, OK])

    first, line = lines(caplog)
    assert (5.0, 2) == (first["seconds"], first["attempt"])
    shown = {"event": "waiting for graph", "seconds": 10.3, "attempt": 3, "graphStatus": 429}
    more = {"graphErrorCode": "C", "detail": "M", "graphRequestId": "g-1"}
    assert shown | more | {"clientRequestId": line["clientRequestId"]} == line


def test_a_date_to_wait_until_counts_from_our_clock_where_graph_says_no_time():
    until = (NOW + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    assert ("ok", [9.0]) == got([reply(429, Retry_After=until), OK])[1:]


# -- where the token goes --


@pytest.mark.parametrize("url", [
    "https://other.example/v1.0/x",
    "https://graph.microsoft.com.other.example/v1.0/x",
    "https://graph.microsoft.com@other.example/v1.0/x",
    "https://graph.microsoft.com:444/v1.0/x",
    "http://graph.microsoft.com/v1.0/x",
    "https://graph.microsoft.com/beta/x",
    "https://graphXmicrosoft.com/v1.0/x",
    ROOT,
    f"{ROOT}x/y",
    f"{ROOT}/../beta/x",
    f"{ROOT}/%2E%2e/beta/x",
    "/../beta/x",
    "",
])  # fmt: skip
def test_a_link_that_leads_away_is_refused_at_once(url, caplog):
    """No token is asked for, nothing is sent, and nothing waited for."""
    caplog.set_level("INFO", "redeliver")
    world, kind, slept = got([], path=url)

    assert ("Failed None", [], [], []) == (kind, slept, world.calls, world.credential.asked)
    assert not lines(caplog)


@pytest.mark.parametrize("origin", [
    "https://graph.microsoft.com",
    "https://graph.microsoft.com:443",
    "HTTPS://Graph.Microsoft.com",
])  # fmt: skip
def test_a_link_of_the_same_origin_is_followed_letter_by_letter_below_our_root(origin):
    """The default port is no other origin (msgraph-sdk-dotnet#319); dots in a query lead nowhere.

    [seen: msgraph-sdk-dotnet#319]
    """
    world, kind, _ = got([OK], path=f"{origin}/v1.0/x?$skiptoken=a..b")

    assert ("ok", [("GET", f"{ROOT}/x?$skiptoken=a..b")]) == (kind, world.calls)
