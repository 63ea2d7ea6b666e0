"""The emulated Graph, over real HTTP: what Graph refuses is refused."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
import uuid
from datetime import timedelta

import pytest

from emulator.call import Call, route
from emulator.control import Control
from emulator.identity import Identity
from emulator.query import BadQuery, parse_expand, parse_filter
from emulator.samples import generated
from emulator.service import Service
from tests.emulated import (
    BETA,
    CATALOGS,
    IDS,
    LEGACY,
    PACKAGES,
    PATH,
    READ,
    ROOT,
    START,
    UNKNOWN,
    WRITE,
    by_id,
    error,
    fresh,
    get_item,
    ids,
    post_item,
    statuses,
)


@pytest.fixture(name="graph")
def _graph():
    return fresh()


# ---- one request ---------------------------------------------------------------------------------

CONTEXT = "$metadata#identityGovernance/entitlementManagement"
SHARED = {
    "id": IDS[0],
    "createdDateTime": "2026-08-20T10:00:00.1Z",
    "justification": "Project",
    "answers": [],
    "customExtensionCalloutInstances": [],
    "schedule": {"@odata.type": "microsoft.graph.entitlementManagementSchedule"},
}


def test_v1_reads_a_request_with_its_names_and_case(graph):
    """Without $expand no neighbour is in the answer; times are UTC with as many decimals as needed."""
    answer = graph.read()

    assert (answer.status_code, answer.json()) == (
        200,
        SHARED
        | {
            "@odata.context": f"{graph.url}/v1.0/{CONTEXT}/assignmentRequests/$entity",
            "requestType": "userAdd",
            "state": "deliveryFailed",
            "status": "DeliveryFailed",
            "completedDateTime": "2026-08-20T11:00:00.25Z",
        },
    )


@pytest.mark.parametrize("path", [BETA, LEGACY])
def test_beta_reads_a_request_with_its_own_names_on_both_paths(graph, path):
    """requestState, requestStatus and completedDate, in Pascal case."""
    name = path.rsplit("/", 1)[1]

    assert graph.get(f"{path}/{IDS[0].upper()}").json() == SHARED | {
        "@odata.context": f"{graph.url}/beta/{CONTEXT}/{name}/$entity",
        "requestType": "UserAdd",
        "requestState": "DeliveryFailed",
        "requestStatus": "DeliveryFailed",
        "completedDate": "2026-08-20T11:00:00.25Z",
    }


def test_expand_and_select_give_what_was_asked_for(graph):
    """Names and addresses for a page; expanded neighbours stay whatever is selected."""
    expand = "accessPackage($select=id,displayName),requestor,assignment($expand=target)"
    body = graph.read(query={"$expand": expand, "$select": "state"}).json()

    del body["@odata.context"]
    person = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, "adele@contoso.example")),
        "objectId": str(uuid.UUID(int=300)),
        "displayName": "Adele Vance",
        "email": "adele@contoso.example",
        "principalName": None,
        "subjectType": "user",
    }
    assert body == {
        "state": "deliveryFailed",
        "accessPackage": {"id": PACKAGES[0], "displayName": "Sales Team"},
        "requestor": person,
        "assignment": {
            "id": str(uuid.UUID(int=400)),
            "state": "deliveryFailed",
            "status": "DeliveryFailed",
            "expiredDateTime": None,
            "target": person,
        },
    }


def test_beta_calls_the_assignment_accesspackageassignment(graph):
    """And its state assignmentState; a pending request has led to none yet."""
    query = {"$expand": "accessPackageAssignment($select=assignmentState)", "$select": "id"}
    shown = [graph.read(n, query, BETA).json()["accessPackageAssignment"] for n in (0, 2)]

    assert shown == [{"assignmentState": "DeliveryFailed"}, None]


@pytest.mark.parametrize(
    "query",
    [
        {"$expand": "target"},
        {"$expand": "accessPackageAssignment"},
        {"$expand": "assignment,assignment"},
        {"$expand": "assignment($expand=target"},
        {"$expand": "assignment)"},
        {"$expand": "assignment($top=1)"},
        {"$expand": "*"},
        {"$select": "requestState"},
        {"$select": ""},
        {"$filter": "state eq 'delivered'"},
        {"$top": "1"},
        {"api-version": "1"},
    ],
)
def test_reading_one_takes_known_expand_and_select_only(graph, query):
    """The other version's names, the assignment's target, unknown options and syntax are 400."""
    assert error(graph.read(query=query))[:2] == (400, "BadRequest")


def test_types_beyond_the_sentinel_are_shown_to_who_asks_for_them(graph):
    """An approverRemove is unknownFutureValue without `Prefer: include-unknown-enum-members`."""
    graph.put({"requestType": "approverRemove"})
    path, prefer = f"{PATH}/{IDS[0]}", {"Prefer": "include-unknown-enum-members"}

    shown = [graph.get(path, headers=headers).json()["requestType"] for headers in ({}, prefer)]

    assert shown == ["unknownFutureValue", "approverRemove"]


# ---- paths, methods, headers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", LEGACY.replace("beta", "v1.0"), (400, "BadRequest", "segment 'accessPackageA")),
        ("GET", PATH.lower(), (400, "BadRequest", "segment 'identitygovernance'")),
        ("GET", f"{PATH}/{IDS[0]}/history", (400, "BadRequest", "segment 'history'")),
        ("GET", "/v2.0/users", (400, "BadRequest", "Invalid version: v2.0")),
        ("GET", f"{PATH}/not-a-guid", (400, "BadRequest", "not a valid GUID")),
        ("GET", f"{PATH}/{UNKNOWN}", (404, "ResourceNotFound", "was not found")),
        ("POST", f"{PATH}/not-a-guid/reprocess", (400, "BadRequest", "not a valid GUID")),
        ("POST", f"{PATH}/{UNKNOWN}/reprocess", (404, "ResourceNotFound", "was not found")),
        ("GET", f"{PATH}/{IDS[0]}/reprocess", (405, "MethodNotAllowed", "not allowed")),
        ("POST", f"{PATH}/{IDS[0]}", (405, "MethodNotAllowed", "not allowed")),
        ("DELETE", PATH, (405, "MethodNotAllowed", "not allowed")),
        ("GET", "/beta/$batch", (405, "MethodNotAllowed", "not allowed")),
    ],
)
def test_what_is_not_there_is_refused_as_graph_does(graph, method, path, expected):
    """Unknown segments are 400, unknown ids 404, ids that are none 400, wrong methods 405."""
    status, code, message = error(graph.call(method, path))

    assert (status, code) == expected[:2]
    assert expected[2] in message


def test_headers_of_an_answer(graph):
    """A GUID in client-request-id comes back, anything else is ignored; Date is Graph's time."""
    own = str(uuid.uuid4())
    graph.control.advance(60)

    for sent, echoed in [(own, own), ("not-a-guid", None), (None, None)]:
        headers = {"client-request-id": sent} if sent else {}
        answer = graph.get(f"{PATH}/{IDS[0]}", headers=headers)
        assert answer.headers["client-request-id"] == (echoed or answer.headers["request-id"])
        assert answer.headers["Date"] == "Thu, 20 Aug 2026 12:01:00 GMT"
        assert list(json.loads(answer.headers["x-ms-ags-diagnostic"])) == ["ServerInfo"]
        assert str(uuid.UUID(answer.headers["request-id"])) == answer.headers["request-id"]


def test_a_post_without_a_length_is_411(graph):
    """The front end of Graph wants Content-Length also for an empty body; it is no Graph envelope."""
    with socket.create_connection(("127.0.0.1", int(graph.url.rsplit(":", 1)[1])), 5) as raw:
        raw.sendall(
            f"POST {PATH}/{IDS[0]}/reprocess HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: {graph.headers['Authorization']}\r\n\r\n".encode()
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 411 ")
    assert graph.state() == "deliveryFailed"


# ---- who may -------------------------------------------------------------------------------------


def test_tokens_are_checked_for_form_signature_life_and_audience(graph):
    """Anything but a valid token for this cloud is 401 InvalidAuthenticationToken, before all else."""
    other = Identity("x").issue("https://graph.microsoft.com", [WRITE], 3600, START)[0]
    expired, foreign = graph.token(seconds=-1), graph.token(audience="https://graph.microsoft.us")
    bad = [
        (None, "Access token is empty."),
        ("Basic abc", "Access token is empty."),
        ("Bearer abc", "CompactToken parsing failed."),
        (f"Bearer {other}", "Access token validation failure. Invalid signature."),
        (f"Bearer {expired}", "Lifetime validation failed, the token is expired."),
        (f"Bearer {foreign}", "Access token validation failure. Invalid audience."),
    ]

    for path in (PATH, "/v1.0/users", "/v1.0/$batch"):
        for header, message in bad:
            graph.headers = {} if header is None else {"Authorization": header}
            answer = graph.get(path)
            assert error(answer) == (401, "InvalidAuthenticationToken", message)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_token_may_name_the_root_with_a_slash_and_ages_by_the_clock(graph):
    """With or without trailing slash; advancing the tenant does not age it, the clock does."""
    token = graph.token(audience="https://graph.microsoft.com/")
    graph.headers = {"Authorization": f"Bearer {token}"}
    graph.control.advance(10**6)

    assert graph.list().status_code == 200
    graph.now += timedelta(hours=1)
    assert graph.list().status_code == 401


@pytest.mark.parametrize(
    ("roles", "reads", "writes"),
    [((READ,), 200, 403), ((WRITE,), 200, 202), (("User.Read.All",), 403, 403), ((), 403, 403)],
)
def test_app_roles_decide(graph, roles, reads, writes):
    """Read.All reads, ReadWrite.All does both, anything else nothing."""
    graph.be(*roles)
    message = (
        "User is not authorized to perform the operation. Reason: The caller is not authorized."
    )

    answers = [graph.list(), graph.read(), graph.reprocess()]

    assert [one.status_code for one in answers] == [reads, reads, writes]
    for one in answers:
        assert one.status_code != 403 or error(one) == (403, "UnAuthorized", message)


def test_without_a_licence_nothing_goes(graph):
    """NoLicense, whatever the roles."""
    graph.turn(licensed=False)
    reason = "Reason: Tenant does not meet license requirement!"
    expected = (403, "NoLicense", f"User is not authorized to perform the operation. {reason}")

    assert [expected] * 3 == [error(one) for one in (graph.list(), graph.read(), graph.reprocess())]


def test_catalog_roles_list_only_by_access_package(graph):
    """Only a filter that confines the whole list to packages of permitted catalogs is answered."""
    graph.be(catalogs=[CATALOGS[0].upper()])
    one, other = (f"accessPackage/id eq '{package}'" for package in PACKAGES[:2])
    expected = {
        None: 403,
        "state eq 'deliveryFailed'": 403,
        one: 200,
        other: 403,
        f"{one} or {other}": 403,
        f"{one} or state eq 'deliveryFailed'": 403,
        f"{one} and (state eq 'deliveryFailed' or state eq 'partiallyDelivered')": 200,
        f"({one} or {other}) and {one}": 200,
        f"accessPackage/id eq '{UNKNOWN}'": 403,
    }

    found = {
        text: graph.list(expand="accessPackage", **({"filter": text} if text else {})).status_code
        for text in expected
    }

    assert found == expected


def test_catalog_roles_read_and_reprocess_in_their_catalogs(graph):
    """Outside they are refused; Read.All adds reading everywhere, not reprocessing."""
    graph.be(catalogs=[CATALOGS[0]])
    assert [graph.read(n).status_code for n in (0, 1)] == [200, 403]
    assert [graph.reprocess(n).status_code for n in (0, 1)] == [202, 403]

    graph.be(READ, catalogs=[CATALOGS[0]])
    assert [graph.read(n).status_code for n in (0, 1)] == [200, 200]
    assert graph.reprocess(1).status_code == 403


# ---- list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (PATH, "state eq 'deliveryFailed'", [0]),
        (PATH, "state eq 'deliveryFailed' or state eq 'partiallyDelivered'", [0, 1]),
        (PATH, "((state eq 'deliveryFailed'))", [0]),
        (PATH, "state eq 'unknownFutureValue'", []),
        # `and` binds more tightly than `or`
        (
            PATH,
            "state eq 'partiallyDelivered' or state eq 'deliveryFailed' and state eq 'denied'",
            [1],
        ),
        (BETA, "requestState eq 'DeliveryFailed'", [0]),
        (LEGACY, "requestState eq 'PartiallyDelivered' or requestState eq 'Nonsense'", [1]),
        (BETA, "requestState eq 'deliveryFailed'", []),
    ],
)
def test_filters_that_work(graph, path, text, expected):
    """State with eq, and, or, parentheses."""
    assert ids(graph.get(path, {"$filter": text})) == expected


def test_a_filter_by_access_package_needs_its_expand(graph):
    """With $expand=accessPackage it works, without it is refused."""
    text = f"accessPackage/id eq '{PACKAGES[0].upper()}'"

    assert ids(graph.list(filter=text, expand="accessPackage($select=id)")) == [0, 2]
    assert error(graph.list(filter=text))[0] == 400
    assert error(graph.list(filter=text, expand="requestor"))[0] == 400


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PATH, "requestState eq 'DeliveryFailed'"),
        (BETA, "state eq 'deliveryFailed'"),
        (PATH, "completedDateTime gt 2026-08-01T00:00:00Z"),
        (BETA, "completedDate eq '2026-08-01T00:00:00Z'"),
        (PATH, "state in ('deliveryFailed','partiallyDelivered')"),
        (PATH, "state ne 'delivered'"),
        (PATH, "not (state eq 'delivered')"),
        (PATH, "state eq 'DeliveryFailed'"),
        (PATH, "state eq 'failed'"),
        (PATH, "state eq deliveryFailed"),
        (PATH, "requestType eq 'userAdd'"),
        (PATH, ""),
        (PATH, "state eq"),
        (PATH, "state eq 'delivered"),
        (PATH, "state eq 'delivered' and"),
        (PATH, "(state eq 'delivered'"),
        (PATH, "state eq 'delivered')"),
        (PATH, "state eq 'delivered' state eq 'delivered'"),
        (PATH, "(" * 500 + "state eq 'delivered'" + ")" * 500),
    ],
)
def test_filters_that_are_refused(graph, path, text):
    """Other properties, the other version's names, completion, `in`, unknown states, broken syntax."""
    assert error(graph.get(path, {"$filter": text}))[:2] == (400, "BadRequest")


@pytest.mark.parametrize(
    "query",
    [
        *({name: "1"} for name in ("$orderby", "$count", "$skip", "$search", "$format", "filter")),
        {"$expand": "target"},
        {"$select": "requestState"},
        {"$top": "0"},
        {"$top": "many"},
        [("$select", "id"), ("$select", "state")],
    ],
    ids=str,
)
def test_other_options_are_refused(graph, query):
    """Documented are $filter, $expand and $select; $top is in use; each once."""
    assert error(graph.get(PATH, query))[:2] == (400, "BadRequest")


def test_the_parsers_never_fail_otherwise():
    """Whatever comes in: an answer or BadQuery."""
    dice = random.Random(1)
    pieces = ["state", " eq ", "'delivered'", *"(),;'=é", " and ", " or ", "$expand=", "assignment"]
    for _ in range(3000):
        text = "".join(dice.choice(pieces) for _ in range(dice.randrange(9)))
        for version in ("v1.0", "beta"):
            for parse in (parse_filter, parse_expand):
                with contextlib.suppress(BadQuery):
                    parse(text, version)


def test_pages_follow_absolute_links_without_losing_what_changes(graph):
    """NextLink holds the same query and the host the client used; who changes state skips nobody."""
    graph.turn(pageSize=2)
    graph.put(*[{"createdDateTime": f"2026-08-20T0{9 - n}:00:00Z"} for n in range(7)])
    query = {"filter": "state eq 'deliveryFailed'", "expand": "accessPackage($select=id)"}
    answer, found = graph.list(**query, select="id"), []
    while True:
        found.append(ids(answer))
        for one in answer.json()["value"]:
            assert set(one) == {"id", "accessPackage"}
            assert graph.reprocess(IDS.index(one["id"])).status_code == 202
        link = answer.json().get("@odata.nextLink")
        if link is None:
            break
        assert link.startswith(f"{graph.url}{PATH}?")
        answer = graph.call("GET", link.removeprefix(graph.url))

    assert found == [[0, 1], [2, 3], [4, 5], [6]]
    elsewhere = graph.get(PATH, headers={"Host": "graph.example"}).json()["@odata.nextLink"]
    assert elsewhere.startswith(f"http://graph.example{PATH}?$skiptoken=")


def test_the_default_page_has_100_and_a_full_last_page_no_link(graph):
    """Graph publishes no page size; 100 is ours."""
    graph.tenant.add(generated(1, 197, clock=lambda: START, examples=False))
    first = graph.list().json()
    second = graph.call("GET", first["@odata.nextLink"].removeprefix(graph.url)).json()

    assert [len(page["value"]) for page in (first, second)] == [100, 100]
    assert "@odata.nextLink" not in second


def test_a_skiptoken_belongs_to_its_query(graph):
    """Altered, made up, or taken to another query or path: 400."""
    graph.turn(pageSize=1)
    token = graph.list(select="id").json()["@odata.nextLink"].partition("$skiptoken=")[2]
    assert ids(graph.list(skiptoken=token, select="id")) == [1]
    swapped = ("B" if token[20] == "A" else "A").join((token[:20], token[21:]))

    for path, query in [
        (PATH, {"$skiptoken": token}),
        (PATH, {"$skiptoken": token, "$select": "id,state"}),
        (BETA, {"$skiptoken": token, "$select": "id"}),
        (PATH, {"$skiptoken": swapped, "$select": "id"}),
        (PATH, {"$skiptoken": token[:-3], "$select": "id"}),
        (PATH, {"$skiptoken": "", "$select": "id"}),
        (PATH, {"$skiptoken": "é%%", "$select": "id"}),
    ]:
        message = "The $skiptoken is not valid for this query."
        assert error(graph.get(path, query)) == (400, "BadRequest", message)


# ---- reprocess -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, BETA, LEGACY])
def test_reprocess_is_202_without_body_or_location(graph, path):
    """On all three paths; the request is delivered later."""
    answer = graph.reprocess(path=path)
    during = graph.read().json()["state"]
    graph.control.advance(10)
    after = graph.read().json()

    assert (answer.status_code, answer.content) == (202, b"")
    own = {"request-id", "client-request-id", "x-ms-ags-diagnostic"}
    assert set(answer.headers) == own | {"Date", "Content-Length", "Server"}
    assert (during, after["state"], after["completedDateTime"]) == (
        "delivering",
        "delivered",
        "2026-08-20T12:00:10Z",
    )


def test_reprocess_is_refused_where_it_cannot_be(graph):
    """Wrong state, on its way already, window closed: 400 (codes and texts are ours)."""
    graph.reprocess()
    graph.put({"completedDateTime": "2026-08-01T00:00:00Z"}, first=3)

    assert [error(graph.reprocess(n)) for n in (0, 2, 3)] == [
        (400, "InvalidRequestState", text)
        for text in (
            "The request is being delivered.",
            "A request in state pendingApproval cannot be reprocessed.",
            "The request was completed too long ago to be reprocessed.",
        )
    ]


def test_reprocess_takes_no_parameters(graph):
    """An empty object is no parameter; anything else is refused and changes nothing."""
    selected = graph.call("POST", f"{PATH}/{IDS[0]}/reprocess", {"$select": "id"})

    assert error(selected)[:2] == (400, "BadRequest")
    assert error(graph.reprocess(json={"reason": "x"}))[:2] == (400, "BadRequest")
    assert graph.reprocess(json={}).status_code == 202


# ---- $batch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_a_batch_answers_each_item_by_id_in_another_order(graph, version):
    """The batch is 200 whatever its items are; every item is the answer a single call would get."""
    headers = {"content-type": "application/json"}
    answer = graph.batch(
        {"id": "a", "method": "GET", "url": f"{ROOT}/{IDS[2]}?$select=id"},
        post_item("b"),
        post_item("c", url=f"{ROOT}/{UNKNOWN}/reprocess"),
        post_item("d", 2),
        {"id": "e", "method": "DELETE", "url": ROOT, "body": {}, "headers": headers},
        path=f"/{version}/$batch",
    )
    found = by_id(answer)

    assert [one["id"] for one in answer.json()["responses"]] != list("abcde")
    assert statuses(answer) == {"a": 200, "b": 202, "c": 404, "d": 400, "e": 405}
    json_type = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
    context = f"{graph.url}/{version}/{CONTEXT}/assignmentRequests/$entity"
    assert found["a"] == {
        "id": "a",
        "status": 200,
        "headers": {"Content-Type": json_type},
        "body": {"@odata.context": context, "id": IDS[2]},
    }
    assert found["b"] == {"id": "b", "status": 202, "headers": {}}
    assert found["c"]["body"]["error"]["code"] == "ResourceNotFound"


@pytest.mark.parametrize(
    "change",
    [
        {"body": None},
        {"headers": None},
        {"headers": {"Content-Type": "text/plain"}},
        {"body": "x"},
        {"url": "https://graph.microsoft.com/v1.0/identityGovernance"},
        {"url": PATH},
        {"url": "/$batch"},
    ],
    ids=str,
)
def test_a_faulty_item_fails_alone(graph, change):
    """A POST without body or Content-Type, an absolute or versioned url, a batch inside: 400."""
    item = {name: value for name, value in {**post_item("1"), **change}.items() if value}

    assert statuses(graph.batch(item, post_item("2", 1))) == {"1": 400, "2": 202}
    assert graph.state() == "deliveryFailed"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"requests": [post_item(str(n)) for n in range(21)]}, "MaximumValueExceeded"),
        ({"requests": [post_item("1"), post_item("1", 1)]}, "BadRequest"),
        ({"requests": [post_item("")]}, "BadRequest"),
        ({"requests": [post_item(1)]}, "BadRequest"),
        ({"requests": [{"id": "1", "url": "/x"}]}, "BadRequest"),
        ({"requests": [{"id": "1", "method": "GET"}]}, "BadRequest"),
        ({"requests": [post_item("1", headers=["x"])]}, "BadRequest"),
        ({"requests": [post_item("1"), post_item("2", dependsOn=["1"])]}, "BadRequest"),
        ({"requests": ["x"]}, "BadRequest"),
        ({"requests": []}, "BadRequest"),
        ({"requests": {}}, "BadRequest"),
        ([], "BadRequest"),
        (None, "BadRequest"),
    ],
)
def test_a_malformed_batch_fails_as_a_whole(graph, payload, code):
    """Over twenty, ids missing, doubled or no text, no method or url: 400, nothing is carried out."""
    answer = graph.call("POST", "/v1.0/$batch", json=payload)

    assert error(answer)[:2] == (400, code)
    assert graph.state() == "deliveryFailed"


def test_a_batch_must_be_json(graph):
    """By its content and by its Content-Type; and it takes no query."""
    good = json.dumps({"requests": [post_item("1")]})
    for body, kind, query in [
        ("{", "application/json", None),
        (good, "text/plain", None),
        (good, "application/json", {"$top": "1"}),
    ]:
        headers = {"Content-Type": kind}
        answer = graph.call("POST", "/v1.0/$batch", query, data=body, headers=headers)
        assert error(answer)[:2] == (400, "BadRequest")


def test_twenty_items_are_the_most(graph):
    """The twentieth is still answered."""
    answer = graph.batch(*(get_item(str(n)) for n in range(20)))

    assert statuses(answer) == {str(n): 200 for n in range(20)}


def test_batch_items_need_the_same_roles(graph):
    """Each item is judged by the batch's own token."""
    graph.be(READ)

    assert statuses(graph.batch(get_item("1"), post_item("2"))) == {"1": 200, "2": 403}


def test_three_thousand_batch_items_a_second():
    """The rules alone, without HTTP, are far quicker than that; the bound leaves room for slow machines."""
    tenant = generated(1, 2000, state="deliveryFailed", examples=False)
    identity = Identity()
    service = Service(tenant, Control(tenant), identity)
    token, _ = identity.issue("https://graph.microsoft.com", [WRITE], 600, tenant.clock())
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    urls = [f"{ROOT}/{request.id}/reprocess" for request in tenant]
    begin = time.perf_counter()
    for n in range(0, 2000, 20):
        items = [post_item(str(i), url=url) for i, url in enumerate(urls[n : n + 20])]
        body = json.dumps({"requests": items}).encode()
        call = Call("POST", "/v1.0/$batch", "", headers, body, "http://x")
        answer = service.answer(call, route("POST", "/v1.0/$batch"))
        assert {one["status"] for one in answer.body["responses"]} == {202}

    assert time.perf_counter() - begin < 2
