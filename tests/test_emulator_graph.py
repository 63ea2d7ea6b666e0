"""The emulated Graph, over real HTTP: what Graph refuses is refused, and faults happen where they were put."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import requests
from aiohttp import web
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential

from emulator.control import Control, Settings, Wrong
from emulator.graph import create_app
from emulator.identity import Identity
from emulator.query import BadQuery, parse_expand, parse_filter
from emulator.samples import generated
from emulator.service import Call, Service, route
from emulator.tenant import Rules, Tenant

START = datetime(2026, 8, 20, 12, tzinfo=UTC)
READ, WRITE = "EntitlementManagement.Read.All", "EntitlementManagement.ReadWrite.All"
PACKAGES = [str(uuid.UUID(int=n)) for n in (100, 101)]
CATALOGS = [str(uuid.UUID(int=n)) for n in (200, 201)]
IDS = [str(uuid.UUID(int=n)) for n in range(10)]
UNKNOWN = str(uuid.UUID(int=999))
USER_ASSIGNED = str(uuid.UUID(int=77))
PATH = "/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
BETA = "/beta/identityGovernance/entitlementManagement/assignmentRequests"
LEGACY = "/beta/identityGovernance/entitlementManagement/accessPackageAssignmentRequests"
SECRET = "identity-secret"
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Emulated:
    """An emulator in a thread of its own, with a clock that only the test moves."""

    def __init__(self):
        self.now = START
        self.tenant = Tenant(lambda: self.now, Rules(delivery_seconds=10, stale_seconds=0))
        self.control = Control(self.tenant)
        self.identity = Identity(SECRET, frozenset([USER_ASSIGNED]))
        self.session = requests.Session()
        self.headers = {"Authorization": f"Bearer {self.token()}"}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.url = self.run(self.start())

    def run(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(10)

    async def start(self):
        app = create_app(self.tenant, self.control, self.identity, seed=5)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def stop(self):
        self.session.close()
        self.run(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def token(self, roles=(WRITE,), audience="https://graph.microsoft.com", seconds=3600):
        return self.identity.issue(audience, list(roles), seconds, self.now)[0]

    def be(self, *roles, catalogs=()):
        self.headers = {"Authorization": f"Bearer {self.token(roles)}"}
        self.control.patch_settings({"catalogs": list(catalogs)})

    def call(self, method, path, query=None, **more):
        headers = {**self.headers, **more.pop("headers", {})}
        return self.session.request(
            method,
            self.url + path,
            params=query,
            headers=headers,
            timeout=5,
            allow_redirects=False,
            **more,
        )

    def get(self, path, query=None, **more):
        return self.call("GET", path, query, **more)

    def reprocess(self, request_id, path=PATH, **more):
        return self.call("POST", f"{path}/{request_id}/reprocess", **more)

    def batch(self, *items, path="/v1.0/$batch", **more):
        return self.call("POST", path, json={"requests": list(items)}, **more)

    def put(self, *fields):
        return self.control.put_requests([{"id": IDS[n], **one} for n, one in enumerate(fields)])


@pytest.fixture
def graph():
    emulated = Emulated()
    emulated.put(
        {
            "state": "deliveryFailed",
            "createdDateTime": "2026-08-20T10:00:00.1Z",
            "completedDateTime": "2026-08-20T11:00:00.25Z",
            "justification": "Project",
            "accessPackageId": PACKAGES[0],
            "accessPackageName": "Sales Team",
            "catalogId": CATALOGS[0],
            "catalogName": "General",
            "requestorName": "Adele Vance",
            "requestorEmail": "adele@contoso.example",
            "requestorObjectId": str(uuid.UUID(int=300)),
            "assignmentId": str(uuid.UUID(int=400)),
            "scheduleStart": "2026-08-20T10:00:00Z",
        },
        {
            "state": "partiallyDelivered",
            "requestType": "adminRemove",
            "createdDateTime": "2026-08-20T09:00:00Z",
            "accessPackageId": PACKAGES[1],
            "catalogId": CATALOGS[1],
        },
        {
            "state": "pendingApproval",
            "createdDateTime": "2026-08-20T08:00:00Z",
            "accessPackageId": PACKAGES[0],
        },
    )
    yield emulated
    emulated.stop()


def error(answer):
    """Status, code and message, after the whole envelope was checked."""
    body = answer.json()
    sent = answer.request.headers.get("client-request-id")
    assert body == {
        "error": {
            "code": body["error"]["code"],
            "message": body["error"]["message"],
            "innerError": {
                "date": "2026-08-20T12:00:00",
                "request-id": answer.headers["request-id"],
                "client-request-id": sent or answer.headers["request-id"],
            },
        }
    }
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, body["error"]["code"], body["error"]["message"]


def ids(answer):
    """Which of the known requests a list holds."""
    assert answer.status_code == 200, answer.text
    return [IDS.index(one["id"]) for one in answer.json()["value"]]


def get_item(item_id, path):
    return {"id": item_id, "method": "GET", "url": path.removeprefix("/v1.0")}


def post_item(item_id, request_id, **more):
    url = f"{PATH.removeprefix('/v1.0')}/{request_id}/reprocess"
    return {
        "id": item_id,
        "method": "POST",
        "url": url,
        "body": {},
        "headers": {"Content-Type": "application/json"},
        **more,
    }


def by_id(answer):
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["responses"]
    return {one["id"]: one for one in answer.json()["responses"]}


# ---- one request ---------------------------------------------------------------------------------

SCHEDULE = {
    "startDateTime": "2026-08-20T10:00:00Z",
    "recurrence": None,
    "expiration": {"endDateTime": None, "duration": None, "type": "noExpiration"},
}
V1 = {
    "id": IDS[0],
    "requestType": "userAdd",
    "state": "deliveryFailed",
    "status": "DeliveryFailed",
    "completedDateTime": "2026-08-20T11:00:00.25Z",
    "createdDateTime": "2026-08-20T10:00:00.1Z",
    "justification": "Project",
    "answers": [],
    "customExtensionCalloutInstances": [],
    "schedule": SCHEDULE,
}
PACKAGE = {
    "id": PACKAGES[0],
    "displayName": "Sales Team",
    "description": "Sales Team",
    "isHidden": False,
}


def test_v1_reads_a_request_with_its_names_and_case(graph):
    """Without $expand no neighbour is in the answer; times are UTC with as many decimals as needed."""
    answer = graph.get(f"{PATH}/{IDS[0]}")
    context = f"{graph.url}/v1.0/$metadata#identityGovernance/entitlementManagement/assignmentRequests/$entity"
    assert (answer.status_code, answer.json()) == (200, {"@odata.context": context, **V1})


@pytest.mark.parametrize("path", [BETA, LEGACY])
def test_beta_reads_a_request_with_its_own_names_on_both_paths(graph, path):
    """requestState, requestStatus and completedDate, in Pascal case."""
    answer = graph.get(f"{path}/{IDS[0].upper()}")
    name = path.rsplit("/", 1)[1]
    assert answer.json() == {
        "@odata.context": f"{graph.url}/beta/$metadata#identityGovernance/entitlementManagement/{name}/$entity",
        "id": IDS[0],
        "requestType": "UserAdd",
        "requestState": "DeliveryFailed",
        "requestStatus": "DeliveryFailed",
        "completedDate": "2026-08-20T11:00:00.25Z",
        "createdDateTime": "2026-08-20T10:00:00.1Z",
        "isValidationOnly": False,
        "expirationDateTime": None,
        "justification": "Project",
        "answers": [],
        "customExtensionCalloutInstances": [],
        "schedule": SCHEDULE,
    }


def test_expand_and_select_give_what_was_asked_for(graph):
    """Nested options are honoured; expanded neighbours stay whatever is selected."""
    expand = "accessPackage($expand=catalog),requestor,assignment($select=id,state;$expand=target($select=email))"
    answer = graph.get(f"{PATH}/{IDS[0]}", {"$expand": expand, "$select": "state"})
    body = answer.json()
    del body["@odata.context"]
    assert body == {
        "state": "deliveryFailed",
        "accessPackage": {**PACKAGE, "catalog": {"id": CATALOGS[0], "displayName": "General"}},
        "requestor": {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, "adele@contoso.example")),
            "objectId": str(uuid.UUID(int=300)),
            "displayName": "Adele Vance",
            "email": "adele@contoso.example",
            "principalName": None,
            "onPremisesSecurityIdentifier": None,
            "subjectType": "user",
            "subjectLifecycle": "notDefined",
        },
        "assignment": {
            "id": str(uuid.UUID(int=400)),
            "state": "deliveryFailed",
            "target": {"email": "adele@contoso.example"},
        },
    }


def test_beta_expands_under_its_own_names(graph):
    """AccessPackageAssignment is what v1.0 calls assignment."""
    body = graph.get(
        f"{BETA}/{IDS[0]}", {"$expand": "accessPackageAssignment,accessPackage", "$select": "id"}
    ).json()
    assert body["accessPackage"] == {**PACKAGE, "catalogId": CATALOGS[0]}
    assert body["accessPackageAssignment"] == {
        "id": str(uuid.UUID(int=400)),
        "expiredDateTime": None,
        "catalogId": CATALOGS[0],
        "accessPackageId": PACKAGES[0],
        "targetId": str(uuid.uuid5(uuid.NAMESPACE_URL, "adele@contoso.example")),
        "assignmentState": "DeliveryFailed",
        "assignmentStatus": "DeliveryFailed",
    }


def test_a_request_without_assignment_expands_to_null(graph):
    """A pending request has led to none yet."""
    assert graph.get(f"{PATH}/{IDS[2]}", {"$expand": "assignment"}).json()["assignment"] is None


@pytest.mark.parametrize(
    "query",
    [
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
    """The other version's names, unknown options and broken syntax are 400."""
    assert error(graph.get(f"{PATH}/{IDS[0]}", query))[:2] == (400, "BadRequest")


# ---- paths, methods, headers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        (
            "GET",
            LEGACY.replace("beta", "v1.0"),
            (400, "BadRequest", "segment 'accessPackageAssignmentRequests'"),
        ),
        ("GET", PATH.lower(), (400, "BadRequest", "segment 'identitygovernance'")),
        ("GET", PATH + "/" + IDS[0] + "/history", (400, "BadRequest", "segment 'history'")),
        ("GET", PATH + "/" + IDS[0] + "/reprocess/x", (400, "BadRequest", "segment 'x'")),
        ("GET", "/v1.0/users", (400, "BadRequest", "segment 'users'")),
        ("GET", "/v2.0/users", (400, "BadRequest", "Invalid version: v2.0")),
        ("GET", PATH + "/not-a-guid", (400, "BadRequest", "not a valid GUID")),
        ("GET", PATH + "/" + UNKNOWN, (404, "ResourceNotFound", "was not found")),
        ("POST", PATH + "/not-a-guid/reprocess", (400, "BadRequest", "not a valid GUID")),
        ("POST", PATH + "/" + UNKNOWN + "/reprocess", (404, "ResourceNotFound", "was not found")),
        (
            "GET",
            PATH + "/" + IDS[0] + "/reprocess",
            (405, "MethodNotAllowed", "method is not allowed"),
        ),
        ("POST", PATH + "/" + IDS[0], (405, "MethodNotAllowed", "method is not allowed")),
        ("DELETE", PATH, (405, "MethodNotAllowed", "method is not allowed")),
        ("GET", "/beta/$batch", (405, "MethodNotAllowed", "method is not allowed")),
    ],
)
def test_what_is_not_there_is_refused_as_graph_does(graph, method, path, expected):
    """Unknown segments are 400, unknown ids 404, ids that are none 400, wrong methods 405."""
    status, code, message = error(graph.call(method, path))
    assert (status, code) == expected[:2]
    assert expected[2] in message


def test_headers_of_an_answer(graph):
    """A GUID in client-request-id comes back, anything else is ignored; Date is the tenant's time."""
    own = str(uuid.uuid4())
    graph.control.advance(60)
    for sent, echoed in [(own, own), ("not-a-guid", None), (None, None)]:
        answer = graph.get(f"{PATH}/{IDS[0]}", headers={"client-request-id": sent} if sent else {})
        assert answer.headers["client-request-id"] == (echoed or answer.headers["request-id"])
        assert answer.headers["Date"] == "Thu, 20 Aug 2026 12:01:00 GMT"
        assert list(json.loads(answer.headers["x-ms-ags-diagnostic"])) == ["ServerInfo"]
        assert str(uuid.UUID(answer.headers["request-id"])) == answer.headers["request-id"]


def test_a_post_without_a_length_is_411(graph):
    """The front end of Graph wants Content-Length also for an empty body; that is no Graph envelope."""
    with socket.create_connection(("127.0.0.1", int(graph.url.rsplit(":", 1)[1])), 5) as raw:
        raw.sendall(
            f"POST {PATH}/{IDS[0]}/reprocess HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: {graph.headers['Authorization']}\r\n\r\n".encode()
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 411 ")
    assert graph.control.requests(IDS[0])[0]["state"] == "deliveryFailed"


# ---- who may -------------------------------------------------------------------------------------


def test_tokens_are_checked_for_form_signature_life_and_audience(graph):
    """Anything but a valid token for this cloud is 401 InvalidAuthenticationToken, before all else."""
    other = Identity("x").issue("https://graph.microsoft.com", [WRITE], 3600, START)[0]
    expired = graph.token(seconds=-1)
    bad = [
        (None, "Access token is empty."),
        ("Basic abc", "Access token is empty."),
        ("Bearer ", "Access token is empty."),
        ("Bearer abc", "CompactToken parsing failed."),
        (f"Bearer {other}", "Access token validation failure. Invalid signature."),
        (f"Bearer {expired}", "Lifetime validation failed, the token is expired."),
        (
            f"Bearer {graph.token(audience='https://graph.microsoft.us')}",
            "Access token validation failure. Invalid audience.",
        ),
        (
            f"Bearer {graph.token(audience='https://graph.microsoft.com//')}",
            "Access token validation failure. Invalid audience.",
        ),
    ]
    for path in (PATH, "/v1.0/users", "/v1.0/$batch"):
        for header, message in bad:
            graph.headers = {} if header is None else {"Authorization": header}
            answer = graph.get(path)
            assert error(answer) == (401, "InvalidAuthenticationToken", message)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_token_may_name_the_root_with_a_slash_and_ages_by_the_clock(graph):
    """With or without trailing slash; advancing the tenant does not age it, the clock does."""
    graph.headers = {
        "Authorization": f"Bearer {graph.token(audience='https://graph.microsoft.com/')}"
    }
    graph.control.advance(10**6)
    assert graph.get(PATH).status_code == 200
    graph.now += timedelta(hours=1)
    assert graph.get(PATH).status_code == 401


@pytest.mark.parametrize(
    ("roles", "reads", "writes"),
    [((READ,), 200, 403), ((WRITE,), 200, 202), (("User.Read.All",), 403, 403), ((), 403, 403)],
)
def test_app_roles_decide(graph, roles, reads, writes):
    """Read.All reads, ReadWrite.All does both, anything else nothing."""
    graph.be(*roles)
    answers = [graph.get(PATH), graph.get(f"{PATH}/{IDS[0]}"), graph.reprocess(IDS[0])]
    assert [one.status_code for one in answers] == [reads, reads, writes]
    for one in answers:
        if one.status_code == 403:
            message = "User is not authorized to perform the operation. Reason: The caller is not authorized."
            assert error(one) == (403, "UnAuthorized", message)


def test_without_a_licence_nothing_goes(graph):
    """NoLicense, whatever the roles."""
    graph.control.patch_settings({"licensed": False})
    reason = "Reason: Tenant does not meet license requirement!"
    expected = (403, "NoLicense", f"User is not authorized to perform the operation. {reason}")
    for answer in (graph.get(PATH), graph.get(f"{PATH}/{IDS[0]}"), graph.reprocess(IDS[0])):
        assert error(answer) == expected


def test_catalog_roles_list_only_by_access_package(graph):
    """Only a filter that confines the whole list to packages of permitted catalogs is answered."""
    graph.be(catalogs=[CATALOGS[0].upper()])
    one, other = (f"accessPackage/id eq '{package}'" for package in PACKAGES)
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
        text: graph.get(
            PATH, {"$expand": "accessPackage", **({"$filter": text} if text else {})}
        ).status_code
        for text in expected
    }
    assert found == expected


def test_catalog_roles_read_and_reprocess_in_their_catalogs(graph):
    """Outside they are refused; Read.All adds reading everywhere, not reprocessing."""
    graph.be(catalogs=[CATALOGS[0]])
    paths = [f"{PATH}/{IDS[n]}" for n in (0, 1)]
    assert [graph.get(path).status_code for path in paths] == [200, 403]
    assert [graph.reprocess(IDS[n]).status_code for n in (0, 1)] == [202, 403]
    graph.be(READ, catalogs=[CATALOGS[0]])
    assert [graph.get(path).status_code for path in paths] == [200, 200]
    assert graph.reprocess(IDS[1]).status_code == 403


# ---- list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (PATH, "state eq 'deliveryFailed'", [0]),
        (PATH, "state eq 'deliveryFailed' or state eq 'partiallyDelivered'", [0, 1]),
        (PATH, "state eq 'pendingApproval' and createdDateTime gt 2026-08-20T08:00:00Z", []),
        (PATH, "createdDateTime ge 2026-08-20T11:00:00+02:00", [0, 1]),
        (PATH, "createdDateTime lt 2026-08-20T10:00:00.1Z", [1, 2]),
        (PATH, "createdDateTime le 2026-08-20T10:00:00.1000000Z", [0, 1, 2]),
        (PATH, "createdDateTime eq 2026-08-20T09:00:00Z", [1]),
        (PATH, "state eq 'unknownFutureValue'", []),
        # and binds more tightly than or
        (
            PATH,
            "state eq 'deliveryFailed' or state eq 'partiallyDelivered' and createdDateTime lt 2000-01-01T00:00:00Z",
            [0],
        ),
        (
            PATH,
            "(state eq 'deliveryFailed' or state eq 'partiallyDelivered') and createdDateTime lt 2026-08-20T10:00:00Z",
            [1],
        ),
        (PATH, "((state eq 'deliveryFailed'))", [0]),
        (BETA, "requestState eq 'DeliveryFailed'", [0]),
        (LEGACY, "requestState eq 'PartiallyDelivered' or requestState eq 'Nonsense'", [1]),
        (BETA, "requestState eq 'deliveryFailed'", []),
    ],
)
def test_filters_that_work(graph, path, text, expected):
    """State with eq, createdDateTime with comparisons, and/or/parentheses."""
    assert ids(graph.get(path, {"$filter": text})) == expected


def test_a_filter_by_access_package_needs_its_expand(graph):
    """With $expand=accessPackage it works, without it is refused."""
    text = f"accessPackage/id eq '{PACKAGES[0].upper()}'"
    assert ids(graph.get(PATH, {"$filter": text, "$expand": "accessPackage($select=id)"})) == [0, 2]
    assert error(graph.get(PATH, {"$filter": text}))[0] == 400
    assert error(graph.get(PATH, {"$filter": text, "$expand": "requestor"}))[0] == 400


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PATH, "requestState eq 'DeliveryFailed'"),
        (BETA, "state eq 'deliveryFailed'"),
        (PATH, "completedDateTime gt 2026-08-01T00:00:00Z"),
        (BETA, "completedDate gt 2026-08-01T00:00:00Z"),
        (PATH, "state in ('deliveryFailed','partiallyDelivered')"),
        (PATH, "state ne 'delivered'"),
        (PATH, "not (state eq 'delivered')"),
        (PATH, "state eq 'DeliveryFailed'"),
        (PATH, "state eq 'failed'"),
        (PATH, "state eq deliveryFailed"),
        (PATH, "requestType eq 'userAdd'"),
        (PATH, "assignment/target/objectId eq 'x'"),
        (PATH, "createdDateTime gt 2026-08-01"),
        (PATH, "createdDateTime gt '2026-08-01T00:00:00Z'"),
        (PATH, "createdDateTime gt 2026-13-01T00:00:00Z"),
        (PATH, "createdDateTime ne 2026-08-01T00:00:00Z"),
        (PATH, ""),
        (PATH, "state"),
        (PATH, "state eq"),
        (PATH, "state eq 'delivered"),
        (PATH, "state eq 'delivered' and"),
        (PATH, "(state eq 'delivered'"),
        (PATH, "state eq 'delivered')"),
        (PATH, "state eq 'delivered' state eq 'delivered'"),
        (PATH, "contains(justification,'x')"),
        (PATH, "(" * 500 + "state eq 'delivered'" + ")" * 500),
    ],
)
def test_filters_that_are_refused(graph, path, text):
    """Other properties, the other version's names, completion, `in`, unknown states, broken syntax."""
    assert error(graph.get(path, {"$filter": text}))[:2] == (400, "BadRequest")


@pytest.mark.parametrize(
    "option", ["$top", "$orderby", "$count", "$skip", "$search", "$format", "filter", "x"]
)
def test_other_options_are_refused(graph, option):
    """Documented are $filter, $expand and $select only."""
    assert error(graph.get(PATH, {option: "1"}))[:2] == (400, "BadRequest")


def test_an_option_given_twice_is_refused(graph):
    """There is no telling which is meant."""
    assert error(graph.get(PATH, [("$select", "id"), ("$select", "state")]))[0] == 400


def test_a_combined_filter_can_be_switched_off(graph):
    """Then `or` is refused, single states and `and` still work."""
    graph.control.patch_settings({"combinedFilterSupported": False})
    both = "state eq 'deliveryFailed' or state eq 'partiallyDelivered'"
    assert error(graph.get(PATH, {"$filter": both}))[0] == 400
    assert ids(
        graph.get(
            PATH,
            {"$filter": "state eq 'deliveryFailed' and createdDateTime gt 2000-01-01T00:00:00Z"},
        )
    ) == [0]


def test_the_parsers_never_fail_otherwise():
    """Whatever comes in: an answer or BadQuery."""
    rng = random.Random(1)
    pieces = [
        "state",
        " eq ",
        "'delivered'",
        "(",
        ")",
        " and ",
        " or ",
        ",",
        ";",
        "$expand=",
        "assignment",
        "target",
        "'",
        "=",
        "é",
    ]
    for _ in range(5000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(9)))
        for version in ("v1.0", "beta"):
            for parse in (parse_filter, lambda t, v: parse_expand(t, v, "request")):
                with contextlib.suppress(BadQuery):
                    parse(text, version)


def test_pages_follow_absolute_links_without_losing_what_changes(graph):
    """NextLink holds the same query and the host the client used; requests that change state skip nobody."""
    graph.control.patch_settings({"pageSize": 2})
    graph.put(*[{"createdDateTime": f"2026-08-20T0{9 - n}:00:00Z"} for n in range(7)])
    query = {
        "$filter": "state eq 'deliveryFailed'",
        "$expand": "accessPackage($select=id)",
        "$select": "id",
    }
    answer, found = graph.get(PATH, query), []
    while True:
        found.append(ids(answer))
        for one in answer.json()["value"]:
            assert set(one) == {"id", "accessPackage"}
            assert graph.reprocess(one["id"]).status_code == 202
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
    first = graph.get(PATH).json()
    second = graph.call("GET", first["@odata.nextLink"].removeprefix(graph.url)).json()
    assert [len(page["value"]) for page in (first, second)] == [100, 100]
    assert "@odata.nextLink" not in second


def test_a_skiptoken_belongs_to_its_query(graph):
    """Altered, made up, or taken to another query or path: 400."""
    graph.control.patch_settings({"pageSize": 1})
    link = graph.get(PATH, {"$select": "id"}).json()["@odata.nextLink"]
    token = link.partition("$skiptoken=")[2]
    assert ids(graph.get(PATH, {"$skiptoken": token, "$select": "id"})) == [1]
    swapped = ("B" if token[20] == "A" else "A").join((token[:20], token[21:]))
    for path, query in [
        (PATH, {"$skiptoken": token}),
        (PATH, {"$skiptoken": token, "$select": "id,state"}),
        (BETA, {"$skiptoken": token, "$select": "id"}),
        (PATH, {"$skiptoken": swapped, "$select": "id"}),
        (PATH, {"$skiptoken": token[:-3], "$select": "id"}),
        (PATH, {"$skiptoken": "", "$select": "id"}),
        (PATH, {"$skiptoken": "%%%", "$select": "id"}),
        (PATH, {"$skiptoken": "é", "$select": "id"}),
    ]:
        assert error(graph.get(path, query)) == (
            400,
            "BadRequest",
            "The $skiptoken is not valid for this query.",
        )


# ---- reprocess -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, BETA, LEGACY])
def test_reprocess_is_202_without_body_or_location(graph, path):
    """On all three paths; the request is delivered later."""
    answer = graph.reprocess(IDS[0], path)
    assert (answer.status_code, answer.content) == (202, b"")
    assert set(answer.headers) == {
        *(
            "Date",
            "request-id",
            "client-request-id",
            "x-ms-ags-diagnostic",
            "Content-Length",
            "Server",
        ),
    }
    states = [graph.get(f"{PATH}/{IDS[0]}").json()["state"]]
    graph.control.advance(10)
    body = graph.get(f"{PATH}/{IDS[0]}").json()
    assert [*states, body["state"], body["completedDateTime"]] == [
        "delivering",
        "delivered",
        "2026-08-20T12:00:10Z",
    ]


def test_reprocess_is_refused_where_it_cannot_be(graph):
    """Wrong state, on its way already, window closed: 400 (codes and texts are ours)."""
    graph.reprocess(IDS[0])
    graph.control.put_requests([{"id": IDS[3], "completedDateTime": "2026-08-01T00:00:00Z"}])
    code = "InvalidRequestState"
    assert error(graph.reprocess(IDS[0])) == (400, code, "The request is being delivered.")
    assert error(graph.reprocess(IDS[2])) == (
        400,
        code,
        "A request in state pendingApproval cannot be reprocessed.",
    )
    assert error(graph.reprocess(IDS[3])) == (
        400,
        code,
        "The request was completed too long ago to be reprocessed.",
    )


def test_reprocess_takes_no_parameters(graph):
    """An empty object is no parameter; anything else is refused and changes nothing."""
    selected = graph.call("POST", f"{PATH}/{IDS[0]}/reprocess", {"$select": "id"})
    assert error(selected)[:2] == (400, "BadRequest")
    assert error(graph.reprocess(IDS[0], json={"reason": "x"}))[:2] == (400, "BadRequest")
    assert graph.reprocess(IDS[0], json={}).status_code == 202


# ---- $batch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_a_batch_answers_each_item_by_id_in_another_order(graph, version):
    """The batch is 200 whatever its items are; every item is the answer a single call would get."""
    root = "/identityGovernance/entitlementManagement/assignmentRequests"
    answer = graph.batch(
        {"id": "a", "method": "GET", "url": f"{root}/{IDS[2]}?$select=id"},
        post_item("b", IDS[0]),
        post_item("c", UNKNOWN),
        post_item("d", IDS[2]),
        {
            "id": "e",
            "method": "DELETE",
            "url": f"{root}/{IDS[2]}",
            "body": {},
            "headers": {"content-type": "application/json"},
        },
        path=f"/{version}/$batch",
    )
    found = by_id(answer)
    assert [one["id"] for one in answer.json()["responses"]] != list("abcde")
    assert {i: one["status"] for i, one in found.items()} == {
        "a": 200,
        "b": 202,
        "c": 404,
        "d": 400,
        "e": 405,
    }
    context = f"{graph.url}/{version}/$metadata#identityGovernance/entitlementManagement/assignmentRequests/$entity"
    json_type = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
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
        {"headers": {}},
        {"headers": {"Content-Type": "text/plain"}},
        {"body": "x"},
        {"url": "https://graph.microsoft.com/v1.0/identityGovernance"},
        {"url": PATH},
        {"url": "/$batch"},
    ],
)
def test_a_faulty_item_fails_alone(graph, change):
    """A POST without body or Content-Type, an absolute or versioned url, a batch inside: that item is 400."""
    item = {
        name: value
        for name, value in {**post_item("1", IDS[0]), **change}.items()
        if value is not None
    }
    found = by_id(graph.batch(item, post_item("2", IDS[1])))
    assert {i: one["status"] for i, one in found.items()} == {"1": 400, "2": 202}
    assert graph.control.requests(IDS[0])[0]["state"] == "deliveryFailed"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"requests": [post_item(str(n), IDS[0]) for n in range(21)]}, "MaximumValueExceeded"),
        ({"requests": [post_item("1", IDS[0]), post_item("1", IDS[1])]}, "BadRequest"),
        ({"requests": [post_item("", IDS[0])]}, "BadRequest"),
        ({"requests": [post_item(1, IDS[0])]}, "BadRequest"),
        ({"requests": [{"id": "1", "url": "/x"}]}, "BadRequest"),
        ({"requests": [{"id": "1", "method": "GET"}]}, "BadRequest"),
        ({"requests": [post_item("1", IDS[0], headers=[]) | {"headers": ["x"]}]}, "BadRequest"),
        (
            {"requests": [post_item("1", IDS[0], dependsOn=["2"]), post_item("2", IDS[1])]},
            "BadRequest",
        ),
        ({"requests": [post_item("1", IDS[0], dependsOn=["1"])]}, "BadRequest"),
        ({"requests": ["x"]}, "BadRequest"),
        ({"requests": []}, "BadRequest"),
        ({"requests": {}}, "BadRequest"),
        ([], "BadRequest"),
        (None, "BadRequest"),
    ],
)
def test_a_malformed_batch_fails_as_a_whole(graph, payload, code):
    """Over twenty, ids missing, doubled or no text, no method or url: 400 and nothing is carried out."""
    answer = graph.call("POST", "/v1.0/$batch", json=payload)
    assert error(answer)[:2] == (400, code)
    assert graph.control.requests(IDS[0])[0]["state"] == "deliveryFailed"


def test_a_batch_must_be_json(graph):
    """By its content and by its Content-Type."""
    good = json.dumps({"requests": [post_item("1", IDS[0])]})
    for body, kind in [("{", "application/json"), (good, "text/plain")]:
        answer = graph.call("POST", "/v1.0/$batch", data=body, headers={"Content-Type": kind})
        assert error(answer)[:2] == (400, "BadRequest")


def test_twenty_items_are_the_most(graph):
    """The twentieth is still answered."""
    items = [get_item(str(n), f"{PATH}/{IDS[0]}") for n in range(20)]
    assert {one["status"] for one in by_id(graph.batch(*items)).values()} == {200}
    assert len(by_id(graph.batch(*items))) == 20


def test_a_failed_dependency_is_424(graph):
    """An item waits for earlier ones; when one failed it is not carried out."""
    found = by_id(
        graph.batch(
            post_item("1", UNKNOWN),
            post_item("2", IDS[0], dependsOn=["1"]),
            post_item("3", IDS[1], dependsOn=["2"]),
            get_item("4", f"{PATH}/{IDS[0]}"),
        )
    )
    assert {i: one["status"] for i, one in found.items()} == {
        "1": 404,
        "2": 424,
        "3": 424,
        "4": 200,
    }
    assert found["4"]["body"]["state"] == "deliveryFailed"


def test_batches_can_be_switched_off(graph):
    """Then the path does not exist, and single calls work."""
    graph.control.patch_settings({"batchSupported": False})
    assert error(graph.batch(post_item("1", IDS[0]))) == (
        400,
        "BadRequest",
        "Resource not found for the segment '$batch'.",
    )
    assert graph.reprocess(IDS[0]).status_code == 202


def test_batch_items_need_the_same_roles(graph):
    """Each item is judged by the batch's own token."""
    graph.be(READ)
    found = by_id(graph.batch(get_item("1", f"{PATH}/{IDS[0]}"), post_item("2", IDS[0])))
    assert {i: one["status"] for i, one in found.items()} == {"1": 200, "2": 403}


# ---- throttling ----------------------------------------------------------------------------------


def test_throttled_calls_are_429_with_graphs_body(graph):
    """A bucket of `burst` calls, refilled by the second; a call that was refused takes nothing."""
    graph.control.patch_settings({"throttle": {"perSecond": 0.5, "burst": 2}})
    answers = [graph.get(f"{PATH}/{IDS[0]}") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "2"
    request_id = answers[2].headers["request-id"]
    assert answers[2].json() == {
        "error": {
            "code": "TooManyRequests",
            "message": "Please retry again later.",
            "innerError": {
                "code": "429",
                "date": "2026-08-20T12:00:00",
                "message": "Please retry after",
                "request-id": request_id,
                "client-request-id": request_id,
                "status": "429",
            },
        }
    }
    graph.control.advance(1.5)
    assert graph.get(PATH).headers["Retry-After"] == "1"
    graph.control.advance(0.5)
    assert [graph.get(PATH).status_code for _ in range(2)] == [200, 429]


def test_batch_items_are_throttled_one_by_one(graph):
    """The batch is 200; refused items carry their own Retry-After and are not carried out."""
    graph.control.patch_settings({"throttle": {"perSecond": 1, "burst": 1}})
    found = by_id(graph.batch(post_item("1", IDS[0]), post_item("2", IDS[1])))
    assert {i: one["status"] for i, one in found.items()} == {"1": 202, "2": 429}
    assert found["2"]["headers"] == {"Content-Type": "application/json", "Retry-After": "1"}
    assert graph.control.requests(IDS[1])[0]["state"] == "partiallyDelivered"


@pytest.mark.parametrize(
    ("form", "header"),
    [("int", "4"), ("decimal", "3.334"), ("date", "Thu, 20 Aug 2026 12:00:05 GMT"), ("none", None)],
)
def test_retry_after_comes_in_every_form(graph, form, header):
    """Whole seconds, decimals as an older page shows them, a date, or not at all; never too early."""
    graph.control.patch_settings({"throttle": {"perSecond": 0.3, "burst": 0, "retryAfter": form}})
    answer = graph.get(PATH)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)
    graph.control.advance(5)
    assert graph.get(PATH).status_code == 200


def test_a_throttle_that_gives_nothing_back(graph):
    """PerSecond 0 stops everything after the burst until it is taken away."""
    graph.control.patch_settings({"throttle": {"perSecond": 0, "burst": 1}})
    assert graph.get(PATH).status_code == 200
    graph.control.advance(10**6)
    assert graph.get(PATH).headers["Retry-After"] == "10"
    graph.control.patch_settings({"throttle": None})
    assert graph.get(PATH).status_code == 200


# ---- managed identity ----------------------------------------------------------------------------


def token_call(graph, header=SECRET, **query):
    params = {"api-version": "2019-08-01", "resource": "https://graph.microsoft.com", **query}
    headers = {} if header is None else {"X-IDENTITY-HEADER": header}
    return graph.session.get(f"{graph.url}/msi/token", params=params, headers=headers, timeout=5)


def test_the_identity_endpoint_gives_a_token_that_graph_takes(graph):
    """The answer of App Service: expires_on is a text with seconds since 1970."""
    graph.control.patch_settings({"tokenSeconds": 60, "roles": [READ]})
    answer = token_call(graph).json()
    token = answer.pop("access_token")
    assert answer == {
        "expires_on": str(int(START.timestamp()) + 60),
        "resource": "https://graph.microsoft.com",
        "token_type": "Bearer",
        "client_id": "6f0b1c1e-9a0e-4d0a-8a34-2f4f6a0c1d01",
    }
    graph.headers = {"Authorization": f"Bearer {token}"}
    assert (graph.get(PATH).status_code, graph.reprocess(IDS[0]).status_code) == (200, 403)
    assert token_call(graph, client_id=USER_ASSIGNED).json()["client_id"] == USER_ASSIGNED


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        (None, {}, 401),
        ("wrong", {}, 401),
        (SECRET.upper(), {}, 401),
        (SECRET, {"api-version": "2017-09-01"}, 400),
        (SECRET, {"api-version": None}, 400),
        (SECRET, {"resource": None}, 400),
        (SECRET, {"resource": "https://graph.microsoft.com/.default"}, 400),
        (SECRET, {"client_id": UNKNOWN}, 400),
        (SECRET, {"mi_res_id": "x"}, 400),
    ],
)
def test_the_identity_endpoint_refuses_as_json(graph, header, query, status):
    """Header exact, version and resource given, client id known."""
    answer = token_call(graph, header, **query)
    body = answer.json()
    assert (answer.status_code, body) == (
        status,
        {"statusCode": status, "message": body["message"], "correlationId": body["correlationId"]},
    )


def test_azure_identity_itself_gets_a_token(graph, monkeypatch):
    """The library's own credential, system-assigned, user-assigned, and with an identity that is not there."""
    graph.now = datetime.now(UTC)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{graph.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)
    for options in ({}, {"client_id": USER_ASSIGNED}):
        with ManagedIdentityCredential(**options) as credential:
            token = credential.get_token("https://graph.microsoft.com/.default").token
        graph.headers = {"Authorization": f"Bearer {token}"}
        assert graph.get(PATH).status_code == 200
    with (
        ManagedIdentityCredential(client_id=UNKNOWN) as credential,
        pytest.raises(ClientAuthenticationError, match="No User Assigned"),
    ):
        credential.get_token("https://graph.microsoft.com/.default")


# ---- faults --------------------------------------------------------------------------------------


def states(graph):
    return graph.control.requests(IDS[0])[0]["state"]


@pytest.mark.parametrize(("after", "state"), [(False, "deliveryFailed"), (True, "delivering")])
def test_a_fault_of_kind_status(graph, after, state):
    """Status, code, message and Retry-After as told; with `after` the call was carried out."""
    fault = {
        "on": "reprocess",
        "kind": "status",
        "status": 500,
        "code": "",
        "message": "No.",
        "retryAfter": 2.5,
    }
    graph.control.add_fault({**fault, "after": after})
    answer = graph.reprocess(IDS[0])
    assert (error(answer), answer.headers["Retry-After"]) == ((500, "", "No."), "2.5")
    assert states(graph) == state
    assert graph.get(f"{PATH}/{IDS[0]}").status_code == 200


def test_faults_come_when_and_where_they_were_put(graph):
    """`skip` lets calls pass, `times` counts, -1 is for ever, `requestId` and `on` choose."""
    add = graph.control.add_fault
    add({"on": "read", "kind": "status", "requestId": IDS[0].upper(), "skip": 1, "times": 2})
    found = [graph.get(f"{PATH}/{IDS[n]}").status_code for n in (0, 1, 0, 0, 0)]
    assert found == [200, 200, 503, 503, 200]
    add({"on": "list", "kind": "status", "status": 504, "times": -1})
    assert [graph.get(PATH).status_code for _ in range(3)] == [504] * 3
    assert graph.get(f"{PATH}/{IDS[0]}").status_code == 200
    graph.control.clear_faults()
    assert graph.get(PATH).status_code == 200
    add({"on": "any", "kind": "status", "status": 429, "times": 2})
    assert [token_call(graph).status_code, graph.get("/v1.0/x").status_code] == [429, 429]


def test_bodies_that_are_no_graph_answers(graph):
    """A proxy's page, nothing at all, JSON that is none, and a redirect."""
    add = graph.control.add_fault
    add({"on": "list", "kind": "html"})
    add({"on": "list", "kind": "empty"})
    add({"on": "list", "kind": "garbage", "status": 206})
    add({"on": "list", "kind": "redirect", "location": "https://elsewhere.example/"})
    html, empty, garbage, redirect = (graph.get(PATH) for _ in range(4))
    assert (html.status_code, html.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert (empty.status_code, empty.content) == (200, b"")
    assert (garbage.status_code, garbage.headers["Content-Type"]) == (206, "application/json")
    with pytest.raises(ValueError):
        garbage.json()
    assert (redirect.status_code, redirect.headers["Location"]) == (
        302,
        "https://elsewhere.example/",
    )


@pytest.mark.parametrize(
    ("kind", "after", "state"),
    [
        ("dropBefore", False, "deliveryFailed"),
        ("dropAfter", False, "delivering"),
        ("truncated", False, "delivering"),
        ("silence", False, "deliveryFailed"),
        ("silence", True, "delivering"),
    ],
)
def test_connections_that_break(graph, kind, after, state):
    """Whether the call was carried out is what a client cannot see."""
    graph.control.add_fault({"on": "reprocess", "kind": kind, "after": after})
    with pytest.raises(BROKEN):
        graph.session.post(
            f"{graph.url}{PATH}/{IDS[0]}/reprocess", headers=graph.headers, timeout=0.3
        )
    assert states(graph) == state
    assert graph.control.log()[-1]["fault"] == kind


def test_a_truncated_list_arrives_in_half(graph):
    """The length promises more than comes."""
    graph.control.add_fault({"on": "list", "kind": "truncated"})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        graph.get(PATH)
    graph.control.add_fault({"on": "list", "kind": "truncated"})
    with graph.get(PATH, stream=True) as answer:
        half = b""
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for part in answer.iter_content(64):
                half += part
    assert 0 < len(half) < int(answer.headers["Content-Length"])


def test_next_links_that_lead_astray(graph):
    """To another host, or back to the same page."""
    graph.control.add_fault(
        {"on": "list", "kind": "foreignNextLink", "location": "https://evil.example/?x"}
    )
    graph.control.add_fault({"on": "list", "kind": "circularNextLink"})
    links = [graph.get(PATH, {"$select": "id"}).json()["@odata.nextLink"] for _ in range(2)]
    assert links == ["https://evil.example/?x", f"{graph.url}{PATH}?%24select=id"]


def test_faults_of_batches_and_their_items(graph):
    """`batch` meets the whole call; `batchItem` and the operation's name meet an item."""
    add = graph.control.add_fault
    add({"on": "batch", "kind": "status", "status": 504, "after": True})
    assert graph.batch(post_item("1", IDS[0])).status_code == 504
    assert states(graph) == "delivering"
    graph.control.advance(10)
    add({"on": "batchItem", "kind": "status", "requestId": IDS[0], "status": 503, "retryAfter": 7})
    add({"on": "reprocess", "kind": "missing", "requestId": IDS[1], "after": True})
    add({"on": "read", "kind": "html"})
    add({"on": "list", "kind": "empty", "status": 204})
    found = by_id(
        graph.batch(
            post_item("1", IDS[0]),
            post_item("2", IDS[1]),
            get_item("3", f"{PATH}/{IDS[0]}"),
            get_item("4", PATH),
        )
    )
    assert set(found) == {"1", "3", "4"}
    assert (found["1"]["status"], found["1"]["headers"]["Retry-After"]) == (503, "7")
    assert (found["3"]["status"], base64.b64decode(found["3"]["body"])[:9]) == (502, b"<!DOCTYPE")
    assert found["4"] == {"id": "4", "status": 204, "headers": {}}
    assert graph.control.requests(IDS[1])[0]["state"] == "delivering"


def test_connection_faults_of_an_operation_leave_batch_items_alone(graph):
    """An item has no connection of its own."""
    graph.control.add_fault({"on": "reprocess", "kind": "dropAfter"})
    assert by_id(graph.batch(post_item("1", IDS[0])))["1"]["status"] == 202
    assert len(graph.control.faults) == 1


def test_the_identity_endpoint_fails_too(graph):
    """Status in its own form, and everything a connection can do."""
    graph.control.add_fault(
        {"on": "token", "kind": "status", "message": "Later.", "status": 429, "retryAfter": 3}
    )
    answer = token_call(graph)
    assert (answer.status_code, answer.json()["message"], answer.headers["Retry-After"]) == (
        429,
        "Later.",
        "3",
    )
    graph.control.add_fault({"on": "token", "kind": "dropBefore"})
    with pytest.raises(requests.ConnectionError):
        token_call(graph)
    assert token_call(graph).status_code == 200


# ---- control -------------------------------------------------------------------------------------


def control(graph, method, path, body=None, key="local"):
    headers = {"X-Emulator-Control": key}
    answer = graph.session.request(
        method, f"{graph.url}/control/{path}", json=body, headers=headers, timeout=5
    )
    return answer.status_code, answer.json()


def test_control_needs_its_header(graph):
    """Not even reading works without."""
    refused = (403, {"error": "X-Emulator-Control is missing or wrong"})
    assert control(graph, "GET", "settings", key="wrong") == refused
    assert control(graph, "POST", "clock", {"advanceSeconds": 5}, key="") == refused


def test_settings_over_http(graph):
    """All settings with their JSON names; a patch changes some."""
    everything = {
        "latencyMs": 0,
        "identityLatencyMs": 0,
        "pageSize": 100,
        "batchSupported": True,
        "combinedFilterSupported": True,
        "roles": [WRITE],
        "catalogs": [],
        "licensed": True,
        "tokenSeconds": 86400,
        "deliverySeconds": 10,
        "staleSeconds": 0,
        "windowDays": 14,
        "completedMoves": True,
        "throttle": None,
    }
    assert control(graph, "GET", "settings") == (200, everything)
    changes = {"pageSize": 7, "deliverySeconds": 1.5, "throttle": {"perSecond": 3}}
    changed = everything | changes | {"throttle": {"perSecond": 3, "burst": 3, "retryAfter": "int"}}
    assert control(graph, "PATCH", "settings", changes) == (200, changed)


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        (
            "PATCH",
            "settings",
            {"pagesize": 1},
            "settings has no field 'pagesize'; there are latencyMs, ",
        ),
        (
            "PATCH",
            "settings",
            {"pageSize": 0},
            "settings: 'pageSize' must be a whole number, 1 or more",
        ),
        ("PATCH", "settings", {"licensed": 1}, "settings: 'licensed' must be true or false"),
        (
            "PATCH",
            "settings",
            {"latencyMs": True},
            "settings: 'latencyMs' must be a number, 0 or more",
        ),
        ("PATCH", "settings", {"throttle": {"burst": 1}}, "throttle needs perSecond"),
        (
            "PATCH",
            "settings",
            {"throttle": {"perSecond": 1, "retryAfter": "x"}},
            "must be one of int, decimal, date, none",
        ),
        ("PATCH", "settings", None, "settings must be a JSON object"),
        ("POST", "faults", {"on": "list"}, "fault needs on and kind"),
        (
            "POST",
            "faults",
            {"on": "lists", "kind": "html"},
            "fault: 'on' must be one of reprocess, read, list",
        ),
        (
            "POST",
            "faults",
            {"on": "list", "kind": "html", "times": 0},
            "'times' must be -1 (for ever) or a whole",
        ),
        (
            "POST",
            "faults",
            {"on": "batchItem", "kind": "silence"},
            "must be one of status, html, empty, missing",
        ),
        ("POST", "faults", {"on": "batch", "kind": "missing"}, "leaves out a batch item"),
        ("POST", "faults", {"on": "read", "kind": "foreignNextLink"}, "'on' must be list or any"),
        (
            "POST",
            "requests",
            {"requests": [{"state": "failed"}]},
            "request: 'state' must be one of submitted, ",
        ),
        (
            "POST",
            "requests",
            {"requests": [{"createdDateTime": "2026-01-01T00:00:00"}]},
            "must be a time with offset",
        ),
        (
            "POST",
            "requests",
            {"requests": [{"outcomes": []}]},
            "must be a list of at least one of delivered, ",
        ),
        ("POST", "requests", {"requests": {}}, "'requests' must be a list of objects"),
        ("POST", "requests", [], "the body must be a JSON object with 'requests' only"),
        ("GET", "requests?id=1", None, "query: 'id' must be a GUID"),
        ("POST", "clock", {"advanceSeconds": -1}, "'advanceSeconds' must be a number, 0 or more"),
        (
            "POST",
            "clock",
            {"seconds": 1},
            "the body must be a JSON object with 'advanceSeconds' only",
        ),
    ],
)
def test_wrong_control_calls_say_what_would_be_right(graph, method, path, body, text):
    """400 and one sentence; nothing is changed."""
    before = graph.control.settings(), len(graph.control.faults), len(graph.tenant)
    status, answer = control(graph, method, path, body)
    assert (status, list(answer)) == (400, ["error"])
    assert text in answer["error"]
    assert (graph.control.settings(), len(graph.control.faults), len(graph.tenant)) == before


def test_the_clock_over_http(graph):
    """The tenant's time moves on."""
    assert control(graph, "POST", "clock", {"advanceSeconds": 90}) == (
        200,
        {"now": "2026-08-20T12:01:30Z", "offsetSeconds": 90.0},
    )
    assert control(graph, "GET", "clock")[1]["offsetSeconds"] == 90.0


def test_requests_over_http_come_back_as_they_were_put(graph):
    """Everything hidden is shown; what was left out has its default."""
    hidden = {
        "outcomes": ["deliveryFailed", "delivered"],
        "fixedAt": "2026-08-21T00:00:00Z",
        "deliverySeconds": 3,
    }
    assert control(graph, "POST", "requests", {"requests": [{"id": IDS[5], **hidden}]}) == (
        200,
        {"ids": [IDS[5]]},
    )
    assert control(graph, "GET", f"requests?id={IDS[5]}") == (
        200,
        {
            "requests": [
                {
                    "id": IDS[5],
                    "requestType": "userAdd",
                    "state": "deliveryFailed",
                    "status": None,
                    "createdDateTime": "2026-08-20T11:00:00Z",
                    "completedDateTime": "2026-08-20T11:30:00Z",
                    "originalCompletedDateTime": "2026-08-20T11:30:00Z",
                    "justification": None,
                    "accessPackageId": PACKAGES[0],
                    "accessPackageName": "Sales Team",
                    "catalogId": CATALOGS[0],
                    "catalogName": "General",
                    "requestorName": None,
                    "requestorEmail": "requestor@contoso.example",
                    "requestorObjectId": None,
                    "assignmentId": None,
                    "scheduleStart": None,
                    "scheduleEnd": None,
                    **hidden,
                    "staleSeconds": None,
                }
            ]
        },
    )
    shown = control(graph, "GET", "requests")[1]["requests"]
    assert control(graph, "POST", "requests", {"requests": shown})[0] == 200
    assert control(graph, "GET", "requests")[1]["requests"] == shown


def test_faults_and_showcase_over_http(graph):
    """Faults are added and cleared; the showcase is empty unless the data was generated."""
    assert control(graph, "POST", "faults", {"on": "list", "kind": "html"}) == (200, {"faults": 1})
    assert control(graph, "DELETE", "faults") == (200, {"faults": 0})
    assert control(graph, "GET", "showcase") == (200, {"showcase": []})


def test_the_log_has_every_call(graph):
    """Graph and token calls in order, batch items with their parent; control calls are not calls."""
    own = str(uuid.uuid4())
    graph.get(PATH, {"$select": "id"}, headers={"client-request-id": own})
    graph.batch(
        post_item(
            "x", IDS[0], headers={"Content-Type": "application/json", "client-request-id": own}
        )
    )
    token_call(graph, "wrong")
    graph.control.add_fault({"on": "read", "kind": "dropBefore"})
    with contextlib.suppress(requests.ConnectionError):
        graph.get(f"{PATH}/{IDS[1]}")
    log = control(graph, "GET", "log")[1]["log"]
    graph_ids = [one.pop("graphRequestId") for one in log]
    assert len(set(graph_ids)) == 5
    shared = {
        "time": "2026-08-20T12:00:00Z",
        "query": "",
        "requestId": None,
        "clientRequestId": None,
        "fault": None,
    }
    assert log == [
        shared
        | {
            "method": "GET",
            "path": PATH,
            "query": "%24select=id",
            "operation": "list",
            "status": 200,
            "clientRequestId": own,
        },
        shared | {"method": "POST", "path": "/v1.0/$batch", "operation": "batch", "status": 200},
        shared
        | {
            "method": "POST",
            "path": f"{PATH}/{IDS[0]}/reprocess",
            "operation": "reprocess",
            "requestId": IDS[0],
            "status": 202,
            "clientRequestId": own,
            "parent": graph_ids[1],
            "itemId": "x",
        },
        shared
        | {
            "method": "GET",
            "path": "/msi/token",
            "query": "api-version=2019-08-01&resource=https%3A%2F%2Fgraph.microsoft.com",
            "operation": "token",
            "status": 401,
        },
        shared
        | {
            "method": "GET",
            "path": f"{PATH}/{IDS[1]}",
            "operation": "read",
            "requestId": IDS[1],
            "status": None,
            "fault": "dropBefore",
        },
    ]
    assert control(graph, "DELETE", "log") == (200, {"log": 0})
    assert graph.control.log() == []


def test_control_in_process_raises_wrong(graph):
    """The same checks without HTTP."""
    with pytest.raises(Wrong, match="'pageSize' must be a whole number"):
        graph.control.patch_settings({"pageSize": "1"})


# ---- speed and the program -----------------------------------------------------------------------


def test_three_thousand_batch_items_a_second():
    """The rules alone, without HTTP, are far quicker than that; the bound leaves room for slow machines."""
    tenant = generated(1, 2000, state="deliveryFailed", examples=False)
    control = Control(tenant, Settings())
    identity = Identity()
    service = Service(tenant, control, identity)
    token, _ = identity.issue("https://graph.microsoft.com", [WRITE], 600, tenant.clock())
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    names = [request.id for request in tenant]
    begin = time.perf_counter()
    for n in range(0, 2000, 20):
        body = json.dumps(
            {"requests": [post_item(str(i), name) for i, name in enumerate(names[n : n + 20])]}
        )
        call = Call("POST", "/v1.0/$batch", "", headers, body.encode(), "http://x")
        answer = service.answer(call, route("POST", "/v1.0/$batch"))
        assert {one["status"] for one in answer.body["responses"]} == {202}
    assert time.perf_counter() - begin < 2


@pytest.fixture
def program():
    """Start the program with options; whatever is left running is ended."""
    started = []

    def start(*options):
        command = [sys.executable, "-m", "emulator.graph", *options]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_the_program_runs_alone_and_ends_at_once(program):
    """It prints a token that works, no other secret, and ends on SIGTERM although a call is unanswered."""
    port = free_port()
    silence = json.dumps({"on": "list", "kind": "silence", "times": -1})
    one = program(
        "--port", port, "--fault", silence, "--identity-header", "hush", "--window-days", "3"
    )
    lines = []
    while not lines or not lines[-1].startswith("TOKEN="):
        lines.append(one.stdout.readline().strip())
    headers = {"Authorization": "Bearer " + lines[-1].removeprefix("TOKEN=")}
    url = f"http://127.0.0.1:{port}"
    first, closed = (
        lines[1].split()[0],
        next(line.split()[0] for line in lines if "window closed" in line),
    )
    assert (
        requests.post(f"{url}{PATH}/{first}/reprocess", headers=headers, timeout=5).status_code
        == 202
    )
    assert (
        requests.post(f"{url}{PATH}/{closed}/reprocess", headers=headers, timeout=5).status_code
        == 400
    )
    with pytest.raises(requests.Timeout):
        requests.get(url + PATH, headers=headers, timeout=0.3)
    assert "hush" not in "".join(lines)
    begin = time.perf_counter()
    one.terminate()
    assert one.wait(5) == 0
    assert time.perf_counter() - begin < 1


def test_a_taken_port_and_a_wrong_option_are_one_line(program):
    """No traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one = program("--port", port)
        out, err = one.communicate(timeout=20)
    assert (one.returncode, out, len(err.splitlines()), port in err) == (1, "", 1, True)
    one = program("--port", free_port(), "--page-size", "0")
    assert one.communicate(timeout=20) == (
        "",
        "emulator.graph: settings: 'pageSize' must be a whole number, 1 or more\n",
    )
