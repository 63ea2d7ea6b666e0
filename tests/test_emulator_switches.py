"""Every switch of the emulated Graph does what it says; one test each, whole answers compared."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from emulator.call import HTML
from emulator.switches import declared, json_name
from tests.emulated import (
    BETA,
    IDS,
    PACKAGES,
    PATH,
    START,
    by_id,
    error,
    fresh,
    get_item,
    ids,
    post_item,
    statuses,
)

EITHER = "state eq 'deliveryFailed' or state eq 'partiallyDelivered'"
ONE = "state eq 'deliveryFailed'"
PACKAGE = f"accessPackage/id eq '{PACKAGES[0]}'"
BAD = (400, "BadRequest")


@pytest.fixture(name="graph")
def _graph():
    return fresh()


def page(answer, version="v1.0"):
    """The whole of a list's answer but its context."""
    body = answer.json()
    context = body.pop("@odata.context")
    assert f"/{version}/$metadata#identityGovernance/" in context
    return body


def test_every_switch_is_turned_in_a_test():
    """A switch without a test is a promise that nobody keeps."""
    from pathlib import Path

    here = Path(__file__).parent
    tests = "".join(path.read_text() for path in here.glob("test_emulator_*.py"))
    names = {json_name(one.name) for one in declared()}

    assert set() == {name for name in names if f"{name}=" not in tests and f'"{name}"' not in tests}


# ---- the list: $top, $select, $expand, $filter ---------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "pages"),
    [
        ({}, [[0, 1], [2]]),
        ({"topMost": 1}, [[0], [1], [2]]),
        ({"top": "ignored"}, [[0, 1, 2]]),
        ({"top": "total"}, [[0, 1]]),
        ({"top": "total", "pageSize": 1}, [[0], [1]]),
    ],
    ids=str,
)
def test_top(graph, switches, pages):
    """A page of so many, of fewer, of what Graph likes; or all that the list will ever have."""
    graph.turn(**switches)

    assert graph.pages(top="2") == pages


def test_top_refused(graph):
    """400, and the list without it works."""
    graph.turn(top="refused")
    message = "Query option '$top' is not supported for this resource."

    assert error(graph.list(top="2")) == (*BAD, message)
    assert ids(graph.list()) == [0, 1, 2]


def test_select(graph):
    """Ignored: every property; refused: 400. One request alone is not concerned."""
    graph.turn(select="ignored")
    shown = graph.list(select="id").json()["value"][0]
    graph.turn(select="refused")

    assert {"state", "requestType", "createdDateTime"} < shown.keys()
    message = "Query option '$select' is not supported for this resource."
    assert error(graph.list(select="id")) == (*BAD, message)
    assert graph.read(query={"$select": "id"}).json().keys() == {"@odata.context", "id"}


def test_expand(graph):
    """Ignored: no neighbour; refused: 400."""
    graph.turn(expand="ignored")
    ignored = graph.list(expand="accessPackage,requestor", filter=PACKAGE, select="id")
    graph.turn(expand="refused")

    assert page(ignored) == {"value": [{"id": IDS[0]}, {"id": IDS[2]}]}
    message = "Query option '$expand' is not supported for this resource."
    assert error(graph.list(expand="requestor")) == (*BAD, message)


def test_combined_filter_supported(graph):
    """False: `or` is refused, single states and `and` still work."""
    graph.turn(combinedFilterSupported=False)
    message = "The $filter combines conditions with 'or', which is not supported."

    assert error(graph.list(filter=EITHER)) == (*BAD, message)
    assert ids(graph.list(filter=ONE)) == [0]
    assert ids(graph.list(filter=f"{PACKAGE} and {ONE}", expand="accessPackage")) == [0]


@pytest.mark.parametrize(
    ("how", "alone", "beside"),
    [
        ("honoured", [0], [0]),
        ("ignored", [0, 1, 2], [0, 2]),
        ("refused", 400, 400),
        ("refusedAlone", 400, [0]),
        ("refusedWithPackage", [0], 400),
    ],
)
def test_state_filter(graph, how, alone, beside):
    """Refused or ignored, alone and beside an access package; the package's own filter works."""
    graph.turn(stateFilter=how)
    asked = [{"filter": ONE}, {"filter": f"{PACKAGE} and {ONE}", "expand": "accessPackage"}]

    answers = [graph.list(**one) for one in asked]

    assert [a.status_code if a.status_code != 200 else ids(a) for a in answers] == [alone, beside]
    assert ids(graph.list(filter=PACKAGE, expand="accessPackage")) == [0, 2]


@pytest.mark.parametrize(
    ("how", "shown", "listed"),
    [
        ("null", {"accessPackage": None}, []),
        ("empty", {"accessPackage": {}}, []),
        ("missing", {}, []),
        ("shown", {"accessPackage": {"id": PACKAGES[2]}}, [3]),
    ],
)
def test_removal_package(graph, how, shown, listed):
    """A removal comes with an empty access package, and no filter by it finds the removal."""
    graph.put({"requestType": "adminRemove", "accessPackageId": PACKAGES[2]}, first=3)
    graph.turn(removalPackage=how)
    expand = "accessPackage($select=id)"

    found = graph.list(filter=f"accessPackage/id eq '{PACKAGES[2]}'", expand=expand)
    body = graph.read(3, {"$expand": expand, "$select": "id"}).json()

    assert ids(found) == listed
    assert body | {"@odata.context": ""} == {"@odata.context": "", "id": IDS[3], **shown}


# ---- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "pages"),
    [
        (["repeats"], [[0], [0, 1], [1, 2]]),
        (["empty"], [[], [0], [], [1], [], [2]]),
        (["empty", "repeats"], [[], [0], [], [0, 1], [], [1, 2]]),
    ],
    ids=str,
)
def test_pages_that_repeat_or_are_empty(graph, how, pages):
    """The same request twice over the pages, and pages of nothing that lead on."""
    graph.turn(pages=how, pageSize=1)

    assert graph.pages() == pages


@pytest.mark.parametrize(
    ("how", "host"), [("relative", ""), ("otherCase", "HTTP://LOCALHOST:")], ids=str
)
def test_pages_whose_links_are_written_otherwise(graph, how, host):
    """Without a host, or with scheme and host in capitals; they lead on all the same."""
    graph.turn(pages=[how], pageSize=1)
    port = graph.url.rsplit(":", 1)[1]

    link = graph.get(PATH, headers={"Host": f"localhost:{port}"}).json()["@odata.nextLink"]

    whole = f"{host}{port}{PATH}?$skiptoken=" if host else f"{PATH}?$skiptoken="
    assert link.startswith(whole)
    assert graph.pages() == [[0], [1], [2]]


def test_next_link_seconds(graph):
    """A nextLink that is too old is 400; with 0 the second page never comes."""
    graph.turn(nextLinkSeconds=60, pageSize=1)
    link = graph.list().json()["@odata.nextLink"].removeprefix(graph.url)
    graph.control.advance(59)
    assert ids(graph.call("GET", link)) == [1]
    graph.control.advance(1)
    expired = graph.call("GET", link)
    graph.turn(nextLinkSeconds=0)
    at_once = graph.call("GET", graph.list().json()["@odata.nextLink"].removeprefix(graph.url))

    assert [one.json()["error"]["message"] for one in (expired, at_once)] == [
        "The $skiptoken has expired."
    ] * 2


# ---- packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("forbiddenPackages", (403, "UnAuthorized")),
        ("missingPackages", (404, "ResourceNotFound")),
    ],
)
def test_packages_that_are_forbidden_or_missing(graph, switch, expected):
    """Their list, their requests and their reprocess are; others are fine, also in one batch."""
    graph.turn(**{switch: [PACKAGES[0].upper()]})
    other = f"accessPackage/id eq '{PACKAGES[1]}'"

    refused = [
        graph.list(filter=f"{PACKAGE} and ({EITHER})", expand="accessPackage"),
        graph.read(),
        graph.reprocess(),
    ]

    assert [error(one)[:2] for one in refused] == [expected] * 3
    assert ids(graph.list(filter=other, expand="accessPackage")) == [1]
    assert ids(graph.list()) == [1]
    found = graph.batch(post_item("1"), post_item("2", 1), get_item("3"), get_item("4", 1))
    status = expected[0]
    assert statuses(found) == {"1": status, "2": 202, "3": status, "4": 200}
    assert graph.state() == "deliveryFailed"


# ---- what an accepted or refused reprocess is answered -------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_accept_status(graph, status):
    """Any success, alone and in a batch, without a body."""
    graph.turn(acceptStatus=status)

    answer, item = graph.reprocess(), by_id(graph.batch(post_item("1", 1)))["1"]

    assert (answer.status_code, answer.content) == (status, b"")
    assert item == {"id": "1", "status": status, "headers": {}}
    assert (graph.state(0), graph.state(1)) == ("delivering", "delivering")


def test_accept_body_json(graph):
    """The request as it is then."""
    graph.turn(acceptBody="json")

    answer, item = graph.reprocess(), by_id(graph.batch(post_item("1", 1)))["1"]

    assert answer.json() == graph.read(0).json()
    assert item["body"] == graph.read(1).json()


def test_accept_body_html(graph):
    """A page of somebody else's; inside a batch as base64."""
    graph.turn(acceptBody="html")

    answer, item = graph.reprocess(), by_id(graph.batch(post_item("1", 1)))["1"]

    told = (answer.status_code, answer.headers["Content-Type"], answer.text)
    assert told == (202, "text/html", HTML)
    body = base64.b64encode(HTML.encode()).decode()
    headers = {"Content-Type": "text/html"}
    assert item == {"id": "1", "status": 202, "headers": headers, "body": body}


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_refusal_status_and_code(graph, status):
    """Nothing published says how a reprocess is refused."""
    graph.turn(refusalStatus=status, refusalCode="Busy")
    message = "A request in state pendingApproval cannot be reprocessed."

    assert error(graph.reprocess(2)) == (status, "Busy", message)
    assert statuses(graph.batch(post_item("1", 2))) == {"1": status}


# ---- what becomes of an accepted request ---------------------------------------------------------


def course(graph, *seconds, n=0):
    """State and completion that are shown after so many more seconds."""
    found = []
    for wait in seconds:
        graph.control.advance(wait)
        body = graph.read(n).json()
        ended = body["completedDateTime"]
        found.append((body["state"], ended and ended[11:]))
    return found


OLD = "11:00:00.25Z"


def test_delivery_and_stale_seconds(graph):
    """The old failure, then delivering, then the end."""
    graph.turn(staleSeconds=2, deliverySeconds=20)
    graph.reprocess()

    assert course(graph, 0, 2, 17, 1) == [
        ("deliveryFailed", OLD),
        ("delivering", None),
        ("delivering", None),
        ("delivered", "12:00:20Z"),
    ]


def test_a_request_may_fail_again_quickly(graph):
    """Between two looks: only the completion tells."""
    graph.put({"outcomes": ["deliveryFailed"], "deliverySeconds": 0.5})
    graph.reprocess()

    assert course(graph, 0.5) == [("deliveryFailed", "12:00:00.5Z")]


def test_completed_moves(graph):
    """False: a new failure still shows the first end."""
    graph.put({"outcomes": ["deliveryFailed"], "completedDateTime": "2026-08-20T11:00:00.25Z"})
    graph.turn(completedMoves=False)
    graph.reprocess()

    assert course(graph, 0, 10) == [("delivering", None), ("deliveryFailed", OLD)]


def test_completed_stays_visible(graph):
    """The old end is shown while the request is delivered again."""
    graph.turn(completedStaysVisible=True)
    graph.reprocess()

    assert course(graph, 0) == [("delivering", OLD)]


@pytest.mark.parametrize("state", ["Accepted", "unknownFutureValue", "DELIVERING"])
def test_delivering_state(graph, state):
    """A state that nobody knows on the way; beta begins it with a capital."""
    graph.turn(deliveringState=state)
    graph.reprocess()

    assert course(graph, 0, 10) == [(state, None), ("delivered", "12:00:10Z")]
    graph.reprocess(1)
    assert graph.read(1, path=BETA).json()["requestState"] == state[0].upper() + state[1:]


def test_gone_when_accepted(graph):
    """202, and then 404, also in the list."""
    graph.turn(goneWhenAccepted=True)

    assert graph.reprocess().status_code == 202
    assert error(graph.read())[:2] == (404, "ResourceNotFound")
    assert ids(graph.list()) == [1, 2]


def test_repeat_accepted(graph):
    """A second reprocess on the way is 202 as well, and starts nothing."""
    graph.turn(repeatAccepted=True)

    assert [graph.reprocess().status_code for _ in range(2)] == [202, 202]
    assert course(graph, 10) == [("delivered", "12:00:10Z")]


def test_window_days(graph):
    """Seven days, as an older page of the portal says."""
    graph.put({"completedDateTime": "2026-08-13T11:59:59Z"})
    assert graph.reprocess().status_code == 202
    graph.put({"completedDateTime": "2026-08-13T11:59:59Z"})
    graph.turn(windowDays=7)

    assert error(graph.reprocess())[2] == (
        "The request was completed too long ago to be reprocessed."
    )


def test_window_moves(graph):
    """The window begins anew with the second failure."""
    graph.put({"completedDateTime": "2026-08-07T12:00:00Z", "outcomes": ["deliveryFailed"]})
    graph.turn(windowMoves=True)
    graph.reprocess()
    graph.control.advance(13 * 86400)

    assert graph.reprocess().status_code == 202


def test_service_retry_seconds(graph):
    """While the service itself retries, inside the window, a reprocess is refused."""
    graph.turn(serviceRetrySeconds=7200)

    assert error(graph.reprocess()) == (
        400,
        "InvalidRequestState",
        "The service is still retrying this request.",
    )
    graph.control.advance(3601)
    assert graph.reprocess().status_code == 202


# ---- $batch --------------------------------------------------------------------------------------


def test_batch_supported(graph):
    """False: the path does not exist, and single calls work."""
    graph.turn(batchSupported=False)
    message = "Resource not found for the segment '$batch'."

    assert error(graph.batch(post_item("1"))) == (*BAD, message)
    assert graph.reprocess().status_code == 202


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BadRequest"),
        (403, "UnAuthorized"),
        (404, "ResourceNotFound"),
        (405, "MethodNotAllowed"),
        (501, "NotImplemented"),
    ],
)
def test_a_batch_refused_whole_with_any_status_is_a_fault_that_stays(graph, status, code):
    """Single calls work."""
    graph.fault("batch", "status", status=status, times=-1)

    for _ in range(2):
        assert error(graph.batch(post_item("1")))[:2] == (status, code)
    assert graph.reprocess().status_code == 202


ITEM = {"id": "1", "status": 202, "headers": {}}
STRANGE = [None, "x", [], {"status": 200}, {"id": "999", "status": 200}, {"id": {}}]


@pytest.mark.parametrize(
    ("how", "responses"),
    [
        ([], [ITEM]),
        (["numberIds"], [ITEM | {"id": 1}]),
        (["textStatus"], [ITEM | {"status": "202"}]),
        (["noHeaders"], [{"id": "1", "status": 202}]),
        (["nullHeaders"], [ITEM | {"headers": None}]),
        (["doubled"], [ITEM, ITEM]),
        (["strangers"], [*STRANGE, ITEM]),
        (["notAList"], {"0": ITEM}),
        (["numberIds", "textStatus"], [ITEM | {"id": 1, "status": "202"}]),
    ],
    ids=str,
)
def test_batch_answers(graph, how, responses):
    """Odd in ids, statuses, headers; twice, among strangers, or no list at all."""
    graph.turn(batchAnswers=how)

    assert graph.batch(post_item("1")).json() == {"responses": responses}
    assert graph.state() == "delivering"


def test_batch_answers_with_odd_headers_and_without_bodies(graph):
    """Header names in capitals, and nothing that explains."""
    graph.turn(batchAnswers=["upperHeaders", "noBody"], throttle={"perSecond": 0, "burst": 0})

    assert graph.batch(post_item("1")).json()["responses"] == [
        {
            "id": "1",
            "status": 429,
            "headers": {"CONTENT-TYPE": "application/json", "RETRY-AFTER": "10"},
        }
    ]


# ---- form of answers -----------------------------------------------------------------------------

CODE, MESSAGE = "ResourceNotFound", "The access package assignment request was not found."


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("innerError", {"code": CODE, "message": MESSAGE, "innerError": "inner"}),
        ("innererror", {"code": CODE, "message": MESSAGE, "innererror": "inner"}),
        (
            "nested",
            {
                "code": CODE,
                "message": MESSAGE,
                "innerError": {"code": CODE, "innerError": "inner"},
            },
        ),
        (
            "details",
            {
                "code": CODE,
                "message": MESSAGE,
                "details": [{"code": CODE, "message": MESSAGE, "target": "reprocess"}],
                "innerError": "inner",
            },
        ),
        ("emptyCode", {"code": "", "message": MESSAGE, "innerError": "inner"}),
        ("noMessage", {"code": CODE, "innerError": "inner"}),
        ("text", MESSAGE),
    ],
)
def test_error_form(graph, form, expected):
    """Spelled both ways, nested, with details, without code or message, or a text."""
    graph.turn(errorForm=form)

    answer = graph.read(9)

    own = answer.headers["request-id"]
    inner = {"date": "2026-08-20T12:00:00", "request-id": own, "client-request-id": own}
    assert (answer.status_code, answer.json()) == (404, {"error": filled(expected, inner)})


def filled(expected, inner):
    """Put the innermost error where it belongs."""
    if expected == "inner":
        return inner
    if isinstance(expected, dict):
        return {name: filled(value, inner) for name, value in expected.items()}
    return expected


def test_error_form_none(graph):
    """A status, and nothing else."""
    graph.turn(errorForm="none")

    answer = graph.read(9)

    assert (answer.status_code, answer.content) == (404, b"")


def test_date(graph):
    """Missing, or no date."""
    found = []
    for how in ("right", "missing", "malformed"):
        graph.turn(date=how)
        found.append(graph.read().headers.get("Date"))

    assert found == ["Thu, 20 Aug 2026 12:00:00 GMT", None, "yesterday, 25:61"]


@pytest.mark.parametrize(
    ("seconds", "hour"), [(3600, "13:00:10Z"), (-3600, "11:00:10Z")], ids=["ahead", "behind"]
)
def test_clock_ahead_seconds(graph, seconds, hour):
    """Graph's clock is an hour off: its Date, and the times of its requests; tokens are not."""
    graph.turn(clockAheadSeconds=seconds)
    answer = graph.reprocess()

    assert answer.headers["Date"][17:] == hour.replace("10Z", "00 GMT")
    assert course(graph, 10) == [("delivered", hour)]
    assert graph.control.time() == {"now": f"2026-08-20T{hour}", "offsetSeconds": 10.0}


@pytest.mark.parametrize(
    ("digits", "fraction"), [(0, ""), (1, ".2"), (3, ".250"), (7, ".2500000"), (None, ".25")]
)
def test_time_digits(graph, digits, fraction):
    """0 to 7 decimals, or as many as are needed."""
    graph.turn(timeDigits=digits)

    assert graph.read().json()["completedDateTime"] == f"2026-08-20T11:00:00{fraction}Z"


def test_a_single_request_may_be_shown_oddly(graph):
    """`shownAs` replaces properties, `leftOut` removes some; what it is in truth does not change."""
    odd = {"id": IDS[0].upper(), "state": None, "completedDateTime": "soon", "extra": {"a": [1]}}
    graph.put({"shownAs": odd, "leftOut": ["requestType", "status"]})
    properties = "id,requestType,state,status,completedDateTime"

    assert page(graph.list(select=properties, filter=ONE)) == {"value": [odd]}
    assert graph.reprocess().status_code == 202


# ---- latency, identity ---------------------------------------------------------------------------


def test_latency_ms(graph):
    """Each call to Graph takes so long, the identity's endpoint its own time."""
    graph.turn(latencyMs=60, identityLatencyMs=120)

    quick = graph.read().elapsed.total_seconds()
    slow = graph.identity_answer().elapsed.total_seconds()

    assert 0.06 <= quick < 0.12 <= slow < 0.5


ENDS = int(START.timestamp()) + 60


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("text", {"expires_on": str(ENDS)}),
        ("number", {"expires_on": ENDS}),
        ("date", {"expires_on": "08/20/2026 12:01:00 +00:00"}),
        ("missing", {}),
        ("garbage", {"expires_on": "soon"}),
        ("later", {"expires_on": str(ENDS + 3600)}),
        ("past", {"expires_on": "1"}),
    ],
)
def test_expires_on(graph, how, told):
    """However it is said, the token itself is good for tokenSeconds, and not longer."""
    graph.turn(expiresOn=how, tokenSeconds=60)

    body = graph.identity_answer().json()
    graph.headers = {"Authorization": f"Bearer {body.pop('access_token')}"}

    assert body == {
        "resource": "https://graph.microsoft.com",
        "token_type": "Bearer",
        "client_id": "6f0b1c1e-9a0e-4d0a-8a34-2f4f6a0c1d01",
        **told,
    }
    assert graph.list().status_code == 200
    graph.now = datetime.fromtimestamp(ENDS, UTC)
    assert graph.list().status_code == 401
