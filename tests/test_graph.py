"""graph/: each answer and each failure ends as the error tree says, within its waits.

Not for: how Graph behaves (the emulator), or sockets (tests/e2e).
"""

from __future__ import annotations

import base64
import inspect
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import MaxRetryError, NewConnectionError

import graph
from deadline import Deadline
from graph.answer import LARGEST_BODY, Answer, told_wait
from graph.calls import SETTLE_SECONDS, SETTLE_WAITS
from graph.identity import RENEW, TokenClaims, claims_of
from tests.scripted import ID, NOW, REQUESTS, ROOT, World, entity, reply

POST = ("POST", f"{REQUESTS}/{ID}/reprocess")
GET = ("GET", f"{REQUESTS}/{ID}")
REFUSED = requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused")))
DROPPED = requests.ConnectionError("Remote end closed connection without response")
SILENT = requests.ReadTimeout("Read timed out.")


def test_success_costs_one_call_with_token_and_client_request_id():
    """The success path is one POST without a body."""
    world = World([reply(202, None, Date="Tue, 24 Nov 2026 10:00:00 GMT", request_id="g-1")])

    accepted = world.graph.reprocess(ID, world.deadline())

    (sent,) = world.transport.sent
    assert [POST] == world.calls
    assert sent.headers["Authorization"].startswith("Bearer token-1.")
    assert "0" == sent.headers["Content-Length"]
    assert accepted == graph.Accepted(
        datetime(2026, 11, 24, 10, tzinfo=UTC), "g-1", sent.headers["client-request-id"]
    )
    assert [("https://graph.microsoft.com/.default", {})] == world.credential.asked


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("2.128", 2.128),
        ("30,30", 30.0),
        ("1" + ", 1" * 99 + ", 12", 12.0),
        ("Tue, 24 Nov 2026 10:00:09 GMT", 9.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 1.0),
        ("0", 1.0),
        ("0.0", 1.0),
    ],
)
def test_retry_after_is_obeyed_in_every_form(value, seconds):
    """Integer, decimal, list and HTTP date are waits of exactly that long, by Graph's clock.

    0 and the past tell nothing of use: then it is our own backoff, a second at first.
    """
    now = "Tue, 24 Nov 2026 10:00:00 GMT"
    world = World([reply(429, None, Retry_After=value, Date=now), reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert [seconds] == world.slept


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "nan", "1e9", "9" * 5000, "٣", "0", "0,0", "11" + ",1" * 99 + "x"],
)
def test_unreadable_retry_after_counts_as_none(value):
    """What is no Retry-After leaves the wait to the backoff."""
    assert told_wait(Answer(429, {"retry-after": value}, None, ""), NOW) is None


def test_without_retry_after_the_waits_double():
    """429 without Retry-After waits 1, 2, 4, 8 seconds, then is given up."""
    world = World([reply(429)] * 5)

    with pytest.raises(graph.GraphThrottled):
        world.graph.reprocess(ID, world.deadline())

    assert [1.0, 2.0, 4.0, 8.0] == world.slept


def test_a_wait_beyond_the_deadline_is_not_begun():
    """Retry-After beyond the budget ends at once, and the caller is told how long it is."""
    world = World([reply(429, None, Retry_After="3600")])

    with pytest.raises(graph.GraphThrottled) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert (3600.0, [], False) == (caught.value.told_wait, world.slept, caught.value.lost)


@pytest.mark.parametrize("lost", [DROPPED, SILENT, *map(reply, (500, 502, 503, 504))], ids=str)
def test_a_lost_answer_of_an_accepted_reprocess_is_settled_by_its_state(lost):
    """Accepted, answer lost: the moved state proves it, and nothing is sent twice."""
    world = World([lost, *[reply(200, entity("delivering"))]])

    accepted = world.graph.reprocess(ID, world.deadline())

    assert [POST, GET] == world.calls
    client_id = world.transport.sent[0].headers["client-request-id"]
    assert graph.Accepted(NOW, "", client_id) == accepted


@pytest.mark.parametrize("lost", [DROPPED, SILENT, reply(500), reply(503)], ids=str)
def test_a_lost_call_that_never_arrived_is_sent_again_after_watching(lost):
    """The state is watched for as long as SETTLE_WAITS before the second POST."""
    world = World([lost, *[reply(200, entity())] * 3, reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET, GET, GET, POST] == world.calls
    assert list(SETTLE_WAITS) == world.slept


def test_a_lost_answer_is_settled_when_the_delivery_failed_anew():
    """A failure completed after the POST was sent proves that the POST had been accepted."""
    world = World([DROPPED, reply(200, entity(completed="2099-01-01T00:00:00Z"))])

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET] == world.calls


def test_a_lost_answer_that_cannot_be_settled_says_so():
    """When the state cannot be read either, the first error stays and tells that it is lost."""
    world = World([SILENT, *[REFUSED] * 3])

    with pytest.raises(graph.GraphTimeout) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert caught.value.lost


def test_a_settled_reprocess_has_the_ids_of_the_call_whose_answer_was_lost():
    """They are what Microsoft's support asks for."""
    world = World([reply(500, None, request_id="g-1"), reply(200, entity("delivering"))])

    accepted = world.graph.reprocess(ID, world.deadline())

    client_id = world.transport.sent[0].headers["client-request-id"]
    assert graph.Accepted(NOW, "g-1", client_id) == accepted


def test_a_look_that_the_deadline_leaves_no_time_for_is_not_waited_for():
    """Graph's own wait comes before the first look, and is never shortened."""
    world = World([reply(503, None, Retry_After="20")])

    with pytest.raises(graph.GraphThrottled):
        world.graph.reprocess(ID, world.deadline(20))

    assert ([], [POST]) == (world.slept, world.calls)


def test_what_never_left_is_sent_again():
    """A refused connection sends nothing, so the POST is simply repeated."""
    world = World([REFUSED, reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert ([POST, POST], [1.0]) == (world.calls, world.slept)


def test_401_gets_one_new_token_and_one_retry():
    """A token that Graph no longer takes is replaced once, by one that is not the cached one."""
    world = World([reply(401), reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert [{}, {"claims": '{"access_token":{}}'}] == [asked for _, asked in world.credential.asked]
    assert ["Bearer token-1", "Bearer token-2"] == [
        sent.headers["Authorization"].partition(".")[0] for sent in world.transport.sent
    ]


def test_a_batch_is_sent_whole_with_the_new_token():
    """The same items, by the same ids."""
    world = World([reply(401), batch()])

    world.graph.reprocess_each(OTHERS, world.deadline(), batched=True)

    first, second = (sent.body for sent in world.transport.sent)
    assert (8, first) == (len(json.loads(first)["requests"]), second)


def test_a_401_as_the_last_answer_is_denied_too():
    """When no attempt is left, a refused token ends as what it is."""
    world = World([*[reply(429, None, Retry_After="1")] * 4, reply(401), reply(401)])

    with pytest.raises(graph.GraphDenied):
        world.graph.reprocess(ID, world.deadline())


def test_401_twice_is_denied():
    """The second 401 is final."""
    world = World([reply(401), reply(401)])

    with pytest.raises(graph.GraphDenied) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert (2, "token") == (len(world.calls), caught.value.looks_like)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, graph.GraphRefused),
        (404, graph.RequestNotFound),
        (409, graph.GraphRefused),
        (403, graph.GraphDenied),
    ],
)
def test_a_no_is_final_and_keeps_graphs_own_words(status, kind):
    """Refusals are not retried; code, message and request id of Graph are in the error."""
    error = {"error": {"code": "C", "message": "M"}}
    world = World([reply(status, error, request_id="g-1")])

    with pytest.raises(graph.GraphError) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert type(caught.value) is kind
    assert (1, status, "C", "g-1") == (
        len(world.calls),
        caught.value.status,
        caught.value.code,
        caught.value.graph_request_id,
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", ["reprocess", "read"])
def test_a_redirect_is_not_followed_and_not_tried_again(status, call):
    """A token goes to the Graph root and nowhere else."""
    world = World([reply(status, b"", Location="https://evil.example/")])

    with pytest.raises(graph.GraphFailed):
        getattr(world.graph, call)(ID, world.deadline())

    assert [POST if call == "reprocess" else GET] == world.calls


@pytest.mark.parametrize(
    "useless",
    [b"<html>", b'{"id": "7', b"", b"null", b"[1]", b"\xff\xfe", b"[" * 100_000, b'"x"'],
)
def test_an_answer_of_no_use_is_read_again(useless):
    """HTML, truncated JSON, an empty body and the like cost a retry of the read."""
    world = World([reply(200, useless), reply(200, entity("delivered"))])

    assert "delivered" == world.graph.read(ID, world.deadline()).state


def test_a_2xx_page_of_html_is_no_acceptance():
    """A proxy's page is not Graph's 202: the state decides."""
    world = World(
        [reply(200, b"<html>", Content_Type="text/html"), reply(200, entity("delivering"))]
    )

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET] == world.calls


def test_a_body_beyond_the_limit_is_not_read_to_its_end():
    """A huge body is a failure, not memory."""
    world = World([reply(200, b" " * (LARGEST_BODY + 1))] * 5)

    with pytest.raises(graph.GraphFailed):
        world.graph.read(ID, world.deadline())


def page(*items, link=None):
    return reply(200, {"value": list(items)} | ({"@odata.nextLink": link} if link else {}))


def test_the_list_follows_its_pages_to_the_end():
    """All pages, one combined filter, fields by the version's names."""
    world = World(
        [page(entity(), link=f"{ROOT}/next?$skiptoken=1"), page(entity("partiallyDelivered"))]
    )

    states = [request.state for request in world.graph.failed(world.deadline())]

    assert ["deliveryFailed", "partiallyDelivered"] == states
    assert [
        (
            "GET",
            (
                f"{REQUESTS}?$select=id,state,requestType,completedDateTime&$filter="
                "%28state%20eq%20%27deliveryFailed%27%20or%20state%20eq%20%27partiallyDelivered%27%29"
                "&$top=500"
            ),
        ),
        ("GET", f"{ROOT}/next?$skiptoken=1"),
    ] == world.calls


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/x",
        "https://graph.microsoft.com.evil.example/v1.0/x",
        "http://graph.microsoft.com/v1.0/x",
        "https://graph.microsoft.com@evil.example/v1.0/",
        "https://graph.microsoft.com/beta/x",
        f"{ROOT}/../beta/x",
        f"{ROOT}/%2E%2e/beta/x",
        "/../beta/x",
        7,
        ["x"],
    ],
)
def test_a_foreign_next_link_never_sees_the_token(link):
    """A nextLink outside the Graph root is not followed."""
    world = World([page(entity(), link=link)])

    with pytest.raises(graph.GraphFailed) as caught:
        list(world.graph.failed(world.deadline()))

    assert 1 == len(world.calls)
    left = "Graph's nextLink leaves the Graph root; it was not followed"
    expected = left if isinstance(link, str) else "Graph's nextLink is no text"
    assert expected == caught.value.detail


def test_dots_in_the_query_of_a_next_link_lead_nowhere():
    """It is the path that could lead out."""
    link = f"{ROOT}/next?$skiptoken=a..b"
    world = World([page(entity(), link=link), page()])

    list(world.graph.failed(world.deadline()))

    assert ("GET", link) == world.calls[-1]


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": {}}])
def test_a_list_without_its_value_is_of_no_use(body):
    """An empty list is one; nothing at all is not."""
    world = World([reply(200, body)])

    with pytest.raises(graph.GraphFailed, match=r"^Graph answered a list without 'value'$"):
        list(world.graph.failed(world.deadline()))


@pytest.mark.parametrize("step", [reply(500), reply(200, b"<html>"), DROPPED], ids=str)
def test_a_page_that_was_lost_is_read_again(step):
    """Reading changes nothing."""
    world = World([step, page(entity())])

    assert [ID] == [request.id for request in world.graph.failed(world.deadline())]
    assert world.calls[0] == world.calls[1]


def test_a_circle_of_next_links_ends():
    """A page that was read already is not read again."""
    world = World(
        [page(entity(), link=f"{ROOT}/a"), page(link=f"{ROOT}/b"), page(link=f"{ROOT}/a")]
    )

    with pytest.raises(graph.GraphFailed) as caught:
        list(world.graph.failed(world.deadline()))

    back = "Graph's nextLink leads back to a page that was read already"
    assert (3, back) == (len(world.calls), caught.value.detail)


def test_a_refused_combined_filter_becomes_one_list_per_state():
    """Where Graph refuses `or`, both states are listed one after the other."""
    world = World([reply(400), page(entity()), page(entity("partiallyDelivered"))])

    assert 2 == len(list(world.graph.failed(world.deadline())))


@pytest.mark.parametrize(
    ("version", "path", "query"),
    [
        ("beta", "assignmentRequests", "requestState%20eq%20%27DeliveryFailed%27"),
        ("beta", "accessPackageAssignmentRequests", "requestState%20eq%20%27PartiallyDelivered%27"),
    ],
)
def test_beta_and_the_legacy_path_use_their_own_names(version, path, query):
    """Names of properties, spelling of states and the path follow the settings."""
    world = World(
        [
            page(
                {
                    "id": ID,
                    "requestState": "DeliveryFailed",
                    "completedDate": "2026-08-20T12:00:00Z",
                }
            )
        ],
        GRAPH_API_VERSION=version,
        GRAPH_REQUESTS_PATH=path,
    )

    (request,) = world.graph.failed(world.deadline())

    assert (True, datetime(2026, 8, 20, 12, tzinfo=UTC)) == (
        request.has_failed,
        request.completed_at,
    )
    assert f"/beta/identityGovernance/entitlementManagement/{path}?" in world.calls[0][1]
    assert query in world.calls[0][1]


def batch(*items):
    return reply(200, {"responses": list(items)}, Date="Tue, 24 Nov 2026 10:00:00 GMT")


OTHERS = [f"0000000{n}-0000-4000-8000-000000000000" for n in range(8)]


def kinds(outcomes):
    """Say of each outcome what it is, and whether it is lost."""
    return [(type(one).__name__, getattr(one, "lost", None)) for one in outcomes]


def test_a_batch_gives_for_each_request_what_the_single_call_gives():
    """Answers come in any order, told by their ids; what lacks or cannot be read is lost."""
    world = World(
        [
            batch(
                "junk",
                {"id": 6, "status": "202", "headers": None},
                {"id": "2", "status": 429, "headers": {"retry-AFTER": 5}},
                {"id": "0", "status": 202, "headers": {"request-id": "g-0"}},
                {"id": "0", "status": 404},
                {"id": "1", "status": "x"},
                {"id": "3", "status": 404, "body": {"error": {"code": "C", "message": "M"}}},
                {"id": "4", "status": 403, "body": "no"},
                {"id": "5", "status": 502},
                {"id": "8", "status": 202},
                {"id": "99", "status": 202},
                {"id": None},
                "junk",
            )
        ]
    )

    outcomes = world.graph.reprocess_each(OTHERS, world.deadline(), batched=True)

    assert [
        ("Accepted", None),
        ("GraphFailed", True),
        ("GraphThrottled", False),
        ("RequestNotFound", False),
        ("GraphDenied", False),
        ("GraphFailed", True),
        ("Accepted", None),
        ("GraphFailed", True),
    ] == kinds(outcomes)
    sent = json.loads(world.transport.sent[0].body)["requests"]
    assert graph.Accepted(NOW, "g-0", sent[0]["headers"]["client-request-id"]) == outcomes[0]
    assert (5.0, "C", "M") == (outcomes[2].told_wait, outcomes[3].code, outcomes[3].detail)
    assert (
        "Graph's $batch answer lacks this request",
        sent[7]["headers"]["client-request-id"],
    ) == (
        outcomes[7].detail,
        outcomes[7].client_request_id,
    )


def test_each_item_of_a_batch_has_an_empty_body_its_type_and_an_id_of_its_own():
    """As Graph's page on batching asks for, also of a POST without a payload."""
    world = World([batch()])

    world.graph.reprocess_each(OTHERS[:2], world.deadline(), batched=True)

    first, second = json.loads(world.transport.sent[0].body)["requests"]
    ours = first["headers"].pop("client-request-id")
    assert [("POST", ROOT + "/$batch")] == world.calls
    assert ours != second["headers"]["client-request-id"]
    assert {
        "id": "0",
        "method": "POST",
        "url": f"{REQUESTS.removeprefix(ROOT)}/{OTHERS[0]}/reprocess",
        "body": {},
        "headers": {"Content-Type": "application/json"},
    } == first


@pytest.mark.parametrize("junk", [None, "x", 7, {"a": 1}, [None], [[]]], ids=repr)
def test_a_batch_answer_of_no_use_loses_every_item(junk):
    """Whatever stands in the place of the answers, nothing is taken for accepted."""
    world = World([reply(200, {"responses": junk})])

    outcomes = world.graph.reprocess_each(OTHERS[:2], world.deadline(), batched=True)

    assert [("GraphFailed", True)] * 2 == kinds(outcomes)


def test_an_item_without_a_wait_of_its_own_has_that_of_the_whole_answer():
    """The longest told wait counts, wherever it stands."""
    world = World([reply(200, {"responses": [{"id": "0", "status": 429}]}, Retry_After="9")])

    (outcome,) = world.graph.reprocess_each(OTHERS[:1], world.deadline(), batched=True)

    assert 9.0 == outcome.told_wait


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 501])
def test_a_refused_batch_says_so(status):
    """Nothing in it was carried out; the caller can do without `$batch`."""
    error = {"error": {"code": "C", "message": "M"}}
    world = World([reply(status, error, request_id="g-1")])

    with pytest.raises(graph.BatchNotAccepted) as caught:
        world.graph.reprocess_each(OTHERS, world.deadline(), batched=True)

    assert {
        "detail": "M",
        "status": status,
        "code": "C",
        "told_wait": None,
        "lost": False,
        "graph_request_id": "g-1",
        "client_request_id": world.transport.sent[0].headers["client-request-id"],
    } == vars(caught.value)


@pytest.mark.parametrize(
    ("step", "kind", "lost"),
    [
        (reply(429, None, Retry_After="7"), graph.GraphThrottled, False),
        (reply(503, None, Retry_After="7"), graph.GraphThrottled, True),
        (reply(500), graph.GraphFailed, True),
        (reply(200, b"<html>", Content_Type="text/html"), graph.GraphFailed, True),
        (REFUSED, graph.GraphFailed, False),
        (DROPPED, graph.GraphFailed, True),
        (SILENT, graph.GraphTimeout, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("batched", [True, False])
def test_one_of_many_calls_is_sent_once_and_waits_for_nothing(step, kind, lost, batched):
    """Waiting and sending again is the sweep's, so that a told wait is everybody's."""
    world = World([step])
    ids = OTHERS if batched else OTHERS[:1]

    try:
        (outcome,) = world.graph.reprocess_each(ids, world.deadline(), batched=batched)
    except graph.GraphError as error:
        outcome = error

    assert (kind, lost) == (type(outcome), outcome.lost)
    assert (1, []) == (len(world.calls), world.slept)


@pytest.mark.parametrize(
    ("batched", "steps"), [(True, [reply(401), reply(401)]), (False, [reply(403)])]
)
def test_a_denial_of_the_identity_or_of_one_request_is_a_denial(batched, steps):
    """A token that is not accepted, or one request; of a `$batch` 403 says that there is none."""
    world = World(steps)

    try:
        (outcome,) = world.graph.reprocess_each(OTHERS[:1], world.deadline(), batched=batched)
    except graph.GraphError as error:
        outcome = error

    assert graph.GraphDenied is type(outcome)


def items(*statuses):
    """A `$batch` answer with these statuses, in order."""
    answers = [{"id": str(n), "status": status} for n, status in enumerate(statuses)]
    return reply(200, {"responses": answers})


def tokens_of(world):
    """The number of the token of each call, and what its batch has."""
    return [
        (
            one.headers["Authorization"].split(".")[0].rpartition("-")[2],
            [
                f"{item['method']} {item['url'].split('/')[-2]}"
                for item in json.loads(one.body)["requests"]
            ],
        )
        for one in world.transport.sent
    ]


def test_what_a_batch_says_the_token_is_bad_for_is_sent_again_with_a_new_one():
    """And nothing else; Graph did nothing for it."""
    world = World([items(202, 401, 401), items(202, 400)])

    outcomes = world.graph.reprocess_each(OTHERS[:3], world.deadline(), batched=True)

    assert [graph.Accepted, graph.Accepted, graph.GraphRefused] == [type(one) for one in outcomes]
    posts = [f"POST {one}" for one in OTHERS[:3]]
    assert [("1", posts), ("2", posts[1:])] == tokens_of(world)
    assert [{}, {"claims": RENEW}] == [options for _, options in world.credential.asked]


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (items(401), graph.GraphDenied),
        (reply(401), graph.GraphDenied),
        (reply(429, None, Retry_After="7"), graph.GraphThrottled),
        (DROPPED, graph.GraphFailed),
    ],
)
def test_a_new_token_is_tried_once_and_says_nothing_of_the_others(second, kind):
    """Whatever comes of it."""
    world = World([items(202, 401), second])

    outcomes = world.graph.reprocess_each(OTHERS[:2], world.deadline(), batched=True)

    assert [graph.Accepted, kind] == [type(one) for one in outcomes]
    assert 2 == len(world.calls)


def test_reading_many_gives_requests_or_errors():
    """An answer about another request, or without a state, is of no use."""
    bodies = [
        entity() | {"id": OTHERS[0].upper()},
        entity(),
        entity("") | {"id": OTHERS[2]},
        ["x"],
    ]
    items = [{"id": str(n), "status": 200, "body": body} for n, body in enumerate(bodies)]
    world = World([batch(*items, {"id": "4", "status": 404})])

    outcomes = world.graph.read_each(OTHERS[:5], world.deadline(), batched=True)

    assert [
        ("Request", None),
        ("GraphFailed", False),
        ("GraphFailed", False),
        ("GraphFailed", False),
        ("RequestNotFound", False),
    ] == kinds(outcomes)
    assert (OTHERS[0], "deliveryFailed") == (outcomes[0].id, outcomes[0].state)
    useless = "Graph's answer is not the request asked for, or lacks 'state'"
    assert [useless] * 3 == [outcome.detail for outcome in outcomes[1:4]]


def test_reading_one_of_many_alone_is_a_plain_call():
    """Where Graph takes no batch."""
    world = World([reply(200, entity())])

    (outcome,) = world.graph.read_each([ID], world.deadline(), batched=False)

    assert ([GET], ID, None) == (world.calls, outcome.id, world.transport.sent[0].body)


@pytest.mark.parametrize("budget", [60, 20, 6])
def test_silence_leaves_the_time_to_look_at_the_state(budget):
    """A POST that was accepted, and never answered, is reported as accepted in any budget."""
    world = World([])

    def silence():
        world.time += world.transport.timeouts[-1][1]
        return SILENT

    world.transport.script = [silence, reply(200, entity("delivering"))]
    deadline = world.deadline(budget)

    assert graph.Accepted(NOW, "", "") == graph_ids_cut(world.graph.reprocess(ID, deadline))
    assert [POST, GET] == world.calls
    assert world.transport.timeouts[0][1] <= max(budget - SETTLE_SECONDS, budget / 2) + 0.1


def graph_ids_cut(accepted):
    return graph.Accepted(accepted.at, "", "")


def test_two_posts_may_have_been_carried_out_and_never_a_third():
    """Lost, not moved, sent again, lost, not moved: then it is the caller's to decide."""
    world = World([DROPPED, *[reply(200, entity())] * 3] * 2)

    with pytest.raises(graph.GraphFailed) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert [POST, GET, GET, GET] * 2 == world.calls
    assert caught.value.lost


def test_one_look_that_fails_does_not_end_the_watch():
    """The next look may tell."""
    world = World([DROPPED, reply(400), reply(200, entity("delivering"))])
    with pytest.raises(graph.GraphRefused):
        world.graph.reprocess(ID, world.deadline())

    world = World([DROPPED, reply(403), reply(200, entity("delivering"))])
    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET, GET] == world.calls


@pytest.mark.parametrize("state", ["denied", "Canceled", "pendingApproval", "Scheduled"])
def test_where_no_reprocess_leads_none_was_accepted(state):
    """The state moved, but not by a reprocess; Graph's answer to the second POST tells."""
    world = World([DROPPED, reply(200, entity(state)), reply(400)])

    with pytest.raises(graph.GraphRefused):
        world.graph.reprocess(ID, world.deadline())

    assert [POST, GET, POST] == world.calls


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_whether_it_moved_is_told_by_graphs_clock(hours):
    """A clock of Graph's that is an hour off does not make an old failure a new one."""
    theirs = NOW + timedelta(hours=hours)
    date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT")

    def shown(completed):
        text = completed.strftime("%Y-%m-%dT%H:%M:%SZ")
        return reply(200, entity(completed=text), Date=date)

    old, new = theirs - timedelta(seconds=30), theirs + timedelta(seconds=3)
    stayed = World([DROPPED, *[shown(old)] * 3, reply(202)])
    moved = World([DROPPED, shown(new)])
    stayed.graph.reprocess(ID, stayed.deadline())
    moved.graph.reprocess(ID, moved.deadline())

    assert [POST, GET, GET, GET, POST] == stayed.calls
    assert [POST, GET] == moved.calls


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_clock_that_cannot_be_right_is_not_believed(date):
    """The acceptance then has our own time."""
    world = World([reply(202, None, Date=date)])

    assert NOW == world.graph.reprocess(ID, world.deadline()).at
    assert NOW == world.graph.now()


@pytest.mark.parametrize("state", ["delivering", "submitted", "delivered", "aStateOfTomorrow"])
def test_any_other_state_shows_that_a_lost_call_was_accepted(state):
    """Whether a new delivery moves the time of the end is not published, nor is its first state."""
    world = World([DROPPED, reply(200, entity(state))])

    assert NOW + timedelta(seconds=1) >= world.graph.reprocess(ID, world.deadline()).at
    assert [POST, GET] == world.calls


@pytest.mark.parametrize(
    ("request_", "since", "moved"),
    [
        (("delivering", NOW), NOW, True),
        (("deliveryFailed", NOW), NOW, False),
        (("deliveryFailed", NOW + timedelta(seconds=1)), NOW, True),
        (("partiallyDelivered", None), NOW, False),
        (("deliveryFailed", NOW), None, False),
        (("aStateOfTomorrow", None), None, True),
    ],
)
def test_a_request_has_moved_when_it_is_not_the_same_failure_any_more(request_, since, moved):
    """The one answer for lost calls and for stale states."""
    state, completed = request_

    assert moved is graph.Request(ID, state, "userAdd", completed).has_moved(since)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ssl.SSLCertVerificationError("self-signed"), False),
        (ssl.SSLError("bad record mac"), True),
        (ssl.SSLEOFError("EOF occurred in violation of protocol"), True),
    ],
    ids=repr,
)
def test_only_a_certificate_that_does_not_verify_means_that_nothing_was_sent(error, lost):
    """A TLS connection may break after the request has gone through it."""
    world = World([requests.exceptions.SSLError(MaxRetryError(None, "/", error))])

    with pytest.raises(graph.GraphFailed) as caught:
        world.graph.reprocess_each(OTHERS, world.deadline(), batched=True)

    assert lost is caught.value.lost


TOP = "&$top=500"


@pytest.mark.parametrize(
    ("refused", "queries"),
    [
        (0, ["or top"]),
        (1, ["or top", "top", "top"]),
        (2, ["or top", "top", "or"]),
        (3, ["or top", "top", "or", "", ""]),
    ],
)
def test_what_graph_refuses_of_the_list_is_left_out_and_that_is_remembered(refused, queries):
    """First the filter on both states, then `$top`, then both; the form that worked comes first."""
    pages = 1 if "or" in queries[-1] else 2
    world = World([*[reply(400)] * refused, *[page(entity())] * pages, *[page()] * pages])

    def asked(calls):
        return [
            " ".join(word for word, there in (("or", "%20or%20" in u), ("top", TOP in u)) if there)
            for _, u in calls
        ]

    assert pages == len(list(world.graph.failed(world.deadline())))
    first = len(world.calls)
    list(world.graph.failed(world.deadline()))

    assert queries == asked(world.calls[:first])
    assert queries[-pages:] == asked(world.calls[first:])


@pytest.mark.parametrize(
    ("pages", "again"),
    [([500], True), ([100] * 5, True), ([20], True), ([19], False), ([300, 201], False)],
)
def test_a_list_that_top_may_have_cut_off_is_read_without_it(pages, again):
    """Exactly as many as were asked for, or an only page: `$top` may mean the whole list."""
    ids = iter(range(10_000))
    script = []
    for number, size in enumerate(pages):
        items = [
            entity() | {"id": f"{next(ids):08x}-0000-4000-8000-000000000000"} for _ in range(size)
        ]
        more = number + 1 < len(pages)
        script.append(page(*items, link=f"{ROOT}/next{number}" if more else None))
    world = World([*script, page(entity())])

    listed = [request.id for request in world.graph.failed(world.deadline())]

    assert again is (ID in listed)
    assert [True, *[False] * (len(pages) - 1), *[False] * again] == [
        TOP in u for _, u in world.calls
    ]


def test_a_list_that_graph_refuses_in_every_form_is_refused_in_its_first_words():
    """The first refusal is told; and nothing is remembered of it."""
    refusals = [reply(400, {"error": {"code": str(n)}}) for n in range(4)]
    world = World([*refusals, page(entity())])

    with pytest.raises(graph.GraphRefused) as caught:
        list(world.graph.failed(world.deadline()))

    assert "0" == caught.value.code
    assert 1 == len(list(world.graph.failed(world.deadline())))
    assert TOP in world.calls[-1][1]


def test_a_refusal_in_the_middle_of_a_list_is_no_reason_to_begin_again():
    """An expired nextLink, for one, ends the list; what was read before is there."""
    world = World([page(entity(), link=f"{ROOT}/next"), reply(400)])
    listed = []

    with pytest.raises(graph.GraphRefused):
        listed.extend(request.id for request in world.graph.failed(world.deadline()))

    assert (2, [ID]) == (len(world.calls), [ID])


def test_what_is_no_request_in_a_list_is_passed_over():
    """Without an id nothing can be done; without a state it is shown, and excluded later."""
    world = World([page("x", None, {"state": "deliveryFailed"}, {"id": ID.upper(), "state": None})])

    assert [graph.Request(ID, "", "", None)] == list(world.graph.failed(world.deadline()))


def test_a_next_link_is_followed_whatever_the_case_of_its_host():
    """What is sent begins with our own Graph root, letter by letter."""
    world = World([page(link="HTTPS://Graph.Microsoft.com/v1.0/next"), page()])

    list(world.graph.failed(world.deadline()))

    assert ("GET", f"{ROOT}/next") == world.calls[1]


def test_a_package_is_listed_in_the_form_that_catalog_roles_may_use():
    """`$expand=accessPackage` and a filter on its id (Graph's page on listing requests)."""
    world = World([page(), page()])

    list(world.graph.failed(world.deadline(), OTHERS[0]))
    list(world.graph.failed_in_detail(world.deadline(), OTHERS[0]))

    states = "state%20eq%20%27deliveryFailed%27%20or%20state%20eq%20%27partiallyDelivered%27"
    asked = f"$filter=accessPackage/id%20eq%20%27{OTHERS[0]}%27%20and%20%28{states}%29{TOP}"
    assert [
        ("GET", f"{REQUESTS}?$expand=accessPackage&{asked}"),
        ("GET", f"{REQUESTS}?$expand=accessPackage,requestor&{asked}"),
    ] == world.calls


def test_a_detailed_list_has_the_names_of_package_and_requestor():
    """`$expand` of both; a removal comes without its package; what Graph leaves out is empty."""
    whole = entity() | {
        "createdDateTime": "2026-08-19T12:00:00Z",
        "status": "DeliveryFailed",
        "history": [{"detail": "old"}, {"detail": "The site is not there yet."}],
        "accessPackage": {"id": OTHERS[1], "displayName": "Sales Team"},
        "requestor": {"objectId": OTHERS[2], "displayName": "Adele", "email": "a@example.com"},
    }
    removal = {"id": OTHERS[0], "state": "deliveryFailed", "accessPackage": None, "requestor": 7}
    world = World([page(whole, removal, "x")])

    listed = list(world.graph.failed_in_detail(world.deadline()))

    assert [
        graph.DetailedRequest(
            ID,
            "deliveryFailed",
            "userAdd",
            datetime(2026, 8, 20, 12, 0, 0, 200000, tzinfo=UTC),
            datetime(2026, 8, 19, 12, tzinfo=UTC),
            OTHERS[1],
            "Sales Team",
            OTHERS[2],
            "Adele",
            "a@example.com",
            "The site is not there yet.",
        ),
        graph.DetailedRequest(OTHERS[0], "deliveryFailed", "", None),
    ] == listed
    assert "?$expand=accessPackage,requestor&$filter=" in world.calls[0][1]


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([{"detail": "first"}, {"detail": "second"}, {"detail": "last"}], "last"),
        ([{"detail": "only"}], "only"),
        ([{"detail": "x" * 501}], "x" * 500),
        ([{"detail": ""}], "Failed"),
        ([7], "Failed"),
        ([], "Failed"),
        (None, "Failed"),
        ({"detail": "no list"}, "Failed"),
    ],
)
def test_where_a_request_is_is_told_in_graphs_last_words(history, told):
    """Else by its status; cut where nobody would read on."""
    world = World([page(entity() | {"status": "Failed", "history": history})])

    assert [told] == [one.status_text for one in world.graph.failed_in_detail(world.deadline())]


def test_beta_tells_the_status_by_another_name():
    """As it does the state."""
    item = {"id": ID, "requestState": "DeliveryFailed", "requestStatus": "Failed", "status": "x"}
    world = World([page(item)], GRAPH_API_VERSION="beta")

    assert ["Failed"] == [one.status_text for one in world.graph.failed_in_detail(world.deadline())]


@pytest.mark.parametrize(
    ("state", "failed", "ended"),
    [
        ("deliveryFailed", True, True),
        ("PartiallyDelivered", True, True),
        ("delivered", False, True),
        ("Denied", False, True),
        ("canceled", False, True),
        ("delivering", False, False),
        ("not known yet", False, False),
        ("", False, False),
    ],
)
def test_what_a_state_means(state, failed, ended):
    """However it is spelt; one that is not known is on its way."""
    request = graph.Request(ID, state, "userAdd", None)

    assert (failed, ended) == (request.has_failed, request.has_ended)


def test_names_that_graph_refuses_cost_the_names_only():
    """After the four forms with them, the four without; that is remembered."""
    world = World([*[reply(400)] * 4, page(entity()), page(entity())])

    for _ in range(2):
        assert [ID] == [one.id for one in world.graph.failed_in_detail(world.deadline())]

    assert [True] * 4 + [False] * 2 == ["$expand=" in url for _, url in world.calls]


def test_a_token_that_is_nested_too_deeply_says_nothing():
    """As any other that cannot be read; it is for Graph to refuse it."""
    deep = base64.urlsafe_b64encode(b"[" * 20_000).decode()

    assert TokenClaims() == claims_of(f"head.{deep}.tail")


@pytest.mark.parametrize(
    ("code", "packages", "roles", "looks_like"),
    [
        ("NoLicense", "", [], "licence"),
        ("UnAuthorized", "", [], "permission"),
        ("UnAuthorized", OTHERS[0], [], "role scope"),
        ("UnAuthorized", "", ["EntitlementManagement.ReadWrite.All"], "role scope"),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_a_denial_says_what_it_looks_like(code, packages, roles, looks_like, batched):
    """By Graph's code, by the roles in the token, and by SWEEP_ACCESS_PACKAGES."""
    error = {"error": {"code": code}}
    item = batch({"id": "0", "status": 403, "body": error})
    world = World([item if batched else reply(403, error)], SWEEP_ACCESS_PACKAGES=packages)
    world.credential.roles = roles

    (denied,) = world.graph.reprocess_each(OTHERS[:1], world.deadline(), batched=batched)

    assert (graph.GraphDenied, looks_like) == (type(denied), denied.looks_like)
    assert denied.remedy


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"oid": OTHERS[0], "roles": ["a"]}, (OTHERS[0], ("a",))),
        ({"oid": "x", "roles": "a"}, (None, None)),
        ({}, (None, ())),
        ([], (None, None)),
    ],
)
def test_the_identity_is_told_from_its_token(payload, expected):
    """Object id and roles where they can be read; never an error."""
    world = World([])
    world.credential.claims = payload

    claims = world.graph.identity(world.deadline())

    assert expected == (claims.object_id, claims.roles)


def test_a_silent_identity_ends_with_the_deadline():
    """The caller's deadline counts also for the token."""
    world = World([])
    ended = threading.Event()
    world.credential.get_token = lambda *_a, **_k: ended.wait(5)

    with pytest.raises(graph.GraphTimeout):
        world.graph.identity(Deadline(0.05))

    ended.set()


def test_long_waits_are_told_in_the_log(caplog):
    """Who reads the log sees what it waits for."""
    world = World([reply(429, None, Retry_After="20", request_id="g-1"), reply(202)])

    with caplog.at_level("INFO", "redeliver"):
        world.graph.reprocess(ID, world.deadline())

    (line,) = (json.loads(record.message) for record in caplog.records)
    assert {
        "event": "waiting for graph",
        "seconds": 20.0,
        "attempt": 1,
        "graphStatus": 429,
        "detail": "Graph answered HTTP 429",
        "graphRequestId": "g-1",
        "clientRequestId": line["clientRequestId"],
    } == line


def test_every_error_of_requests_maps_to_one_of_ours():
    """No exception of the layer below escapes."""
    for _, kind in inspect.getmembers(requests.exceptions, inspect.isclass):
        if not issubclass(kind, requests.RequestException) or issubclass(kind, Warning):
            continue
        raised = kind("x", "y", 0) if "JSONDecode" in kind.__name__ else kind("x")
        world = World([raised] * 5)
        with pytest.raises(graph.GraphFailed):
            world.graph.read(ID, world.deadline())


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-08-20T12:00:00Z", 0),
        ("2026-08-20T12:00:00.2Z", 200000),
        ("2026-08-20T12:00:00.82Z", 820000),
        ("2026-08-20T12:00:00.1234567Z", 123457),
    ],
)
def test_timestamps_have_0_to_7_fractional_digits(text, microsecond):
    """Every number of digits that Graph uses is read."""
    assert datetime(2026, 8, 20, 12, 0, 0, microsecond, tzinfo=UTC) == graph.timestamp(text)


@pytest.mark.parametrize("text", ["2026-08-20T14:00:00.5+02:00", "2026-08-20t12:00:00.5z"])
def test_a_timestamp_is_told_in_utc(text):
    """Whatever its zone, and also in the lower case that RFC 3339 allows."""
    found = graph.timestamp(text)

    assert datetime(2026, 8, 20, 12, 0, 0, 500000, tzinfo=UTC) == found
    assert found.tzinfo is UTC  # not the machine's own zone, which may look like it


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "9998-12-31T23:59:59-12:00"])
def test_the_end_of_time_is_no_time(text):
    """What Microsoft's services write for never cannot be counted with."""
    assert graph.timestamp(text) is None


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())))
def test_whatever_is_no_timestamp_is_none_or_a_time(value):
    """No text makes the parser raise."""
    assert graph.timestamp(value) is None or graph.timestamp(value).tzinfo is UTC


@given(st.text(), st.text())
def test_whatever_is_no_retry_after_is_none_or_a_wait(value, date):
    """No header makes the parser raise, and no wait is negative."""
    wait = told_wait(Answer(429, {"retry-after": value, "date": date}, None, ""), NOW)

    assert wait is None or wait > 0.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_body_of_an_error_makes_the_app_raise_another(body):
    """An error body of any shape becomes one of our errors."""
    with pytest.raises(graph.GraphRefused):
        World([reply(400, body)]).graph.read(ID, World([]).deadline())
