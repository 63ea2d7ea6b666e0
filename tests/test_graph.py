"""graph.py: each answer and each failure ends as the error tree says, within its waits."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import MaxRetryError, NewConnectionError

import graph
from tests.scripted import ID, REQUESTS, ROOT, World, entity, reply

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
    assert "Bearer token-1" == sent.headers["Authorization"]
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
        ("Tue, 24 Nov 2026 10:00:09 GMT", 9.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_obeyed_in_every_form(value, seconds):
    """Integer, decimal, list and HTTP date are waits of exactly that long, by Graph's clock."""
    now = "Tue, 24 Nov 2026 10:00:00 GMT"
    world = World([reply(429, None, Retry_After=value, Date=now), reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert [seconds] == world.slept


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "1e9", "9" * 5000, "٣"])
def test_unreadable_retry_after_counts_as_none(value):
    """What is no Retry-After leaves the wait to the backoff."""
    assert graph.retry_after({"retry-after": value}) is None


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

    assert (3600.0, [], False) == (caught.value.retry_after, world.slept, caught.value.lost)


@pytest.mark.parametrize("lost", [DROPPED, SILENT, *map(reply, (500, 502, 503, 504))], ids=str)
def test_a_lost_answer_of_an_accepted_reprocess_is_settled_by_its_state(lost):
    """Accepted, answer lost: the moved state proves it, and nothing is sent twice."""
    world = World([lost, *[reply(200, entity("delivering"))]])

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET] == world.calls


@pytest.mark.parametrize("lost", [DROPPED, SILENT, reply(500), reply(503)], ids=str)
def test_a_lost_call_that_never_arrived_is_sent_again_after_watching(lost):
    """The state is watched for as long as SETTLE_WAITS before the second POST."""
    world = World([lost, *[reply(200, entity())] * 3, reply(202)])

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET, GET, GET, POST] == world.calls
    assert list(graph.SETTLE_WAITS) == world.slept


def test_a_lost_answer_is_settled_when_the_delivery_failed_anew():
    """A failure completed after the POST was sent proves that the POST had been accepted."""
    world = World([DROPPED, reply(200, entity(completed="2099-01-01T00:00:00Z"))])

    world.graph.reprocess(ID, world.deadline())

    assert [POST, GET] == world.calls


def test_a_lost_answer_that_cannot_be_settled_says_so():
    """When the state cannot be read either, the first error stays and tells that it is lost."""
    world = World([SILENT, *[REFUSED] * 5])

    with pytest.raises(graph.GraphTimeout) as caught:
        world.graph.reprocess(ID, world.deadline())

    assert caught.value.lost


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
        sent.headers["Authorization"] for sent in world.transport.sent
    ]


def test_a_401_as_the_last_answer_is_denied_too():
    """When no attempt is left, a refused token ends as what it is."""
    world = World([*[reply(429, None, Retry_After="1")] * 4, reply(401)])

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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
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
    ids=repr,
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
    world = World([reply(200, b" " * (graph.LARGEST_BODY + 1))] * 5)

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
        7,
        ["x"],
    ],
)
def test_a_foreign_next_link_never_sees_the_token(link):
    """A nextLink outside the Graph root is not followed."""
    world = World([page(entity(), link=link)])

    with pytest.raises(graph.GraphFailed):
        list(world.graph.failed(world.deadline()))

    assert 1 == len(world.calls)


def test_a_circle_of_next_links_ends():
    """A page that was read already is not read again."""
    world = World(
        [page(entity(), link=f"{ROOT}/a"), page(link=f"{ROOT}/b"), page(link=f"{ROOT}/a")]
    )

    with pytest.raises(graph.GraphFailed):
        list(world.graph.failed(world.deadline()))

    assert 3 == len(world.calls)


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


def test_batch_answers_come_back_in_the_order_asked():
    """Answers are matched by id; a missing one is None, a malformed one too."""
    world = World(
        [
            reply(
                200,
                {
                    "responses": [
                        {"id": "2", "status": 429, "headers": {"Retry-After": "5"}},
                        {"id": "0", "status": 202},
                        {"id": "1", "status": "x"},
                        {"id": "99", "status": 202},
                        "junk",
                    ]
                },
            )
        ]
    )

    answers = world.graph.batch("POST", ["/a", "/b", "/c"], world.deadline())

    sent = json.loads(world.transport.sent[0].body)["requests"]
    assert [202, None, 429] == [answer and answer.status for answer in answers]
    assert "5" == answers[2].headers["retry-after"]
    assert [
        {
            "id": "0",
            "method": "POST",
            "url": "/a",
            "body": {},
            "headers": {
                "client-request-id": sent[0]["headers"]["client-request-id"],
                "Content-Type": "application/json",
            },
        }
    ] == sent[:1]


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


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())))
def test_whatever_is_no_timestamp_is_none_or_a_time(value):
    """No text makes the parser raise."""
    assert graph.timestamp(value) is None or graph.timestamp(value).tzinfo is UTC


@given(st.text(), st.text())
def test_whatever_is_no_retry_after_is_none_or_a_wait(value, date):
    """No header makes the parser raise, and no wait is negative."""
    assert (graph.retry_after({"retry-after": value, "date": date}) or 0.0) >= 0.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_body_of_an_error_makes_the_app_raise_another(body):
    """An error body of any shape becomes one of our errors."""
    assert isinstance(graph.error_from(graph.Answer(400, {}, body, "c")), graph.GraphRefused)
