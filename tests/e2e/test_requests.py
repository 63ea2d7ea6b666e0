"""The list of failed requests, through the running app: keys, names from Graph, plans of the sweep."""

from __future__ import annotations

import csv
import http.client
import io
import json
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from emulator.run import free_port
from tests.calls import APP, ROLE, principal
from tests.definition import check
from tests.local_app import ZERO, App, Reply, ago, fresh, quiet

PACKAGE = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"
FORMULA = '=HYPERLINK("https://x.example","Adele")'
REFUSED, EXPIRED, REMOVAL, DUE = (f"e0000000-0000-4000-8000-00000000010{n}" for n in range(4))
YEARLY = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "HTTP_BUDGET_SECONDS": "12"}


def put(app, request_id, **fields):
    """One failed request with names."""
    names = {
        "accessPackageId": PACKAGE,
        "accessPackageName": "Sales Team",
        "requestorName": "Adele Vance",
        "requestorEmail": "adele@contoso.example",
        "requestorObjectId": "bbbbbbbb-0000-4000-8000-000000000001",
    }
    app.put({"id": request_id, **names, **fields})


def get(app, query="", key=None, **headers):
    """Ask for the list; what is no JSON stays text."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=30)
    given = {"x-functions-key": app.function_key if key is None else key, **headers}
    connection.request("GET", f"/api/requests{query}", headers=given)
    answer = connection.getresponse()
    raw = answer.read().decode()
    connection.close()
    names = {name.lower(): value for name, value in answer.getheaders()}
    is_json = "json" in names.get("content-type", "")
    return Reply(answer.status, names, json.loads(raw) if is_json else raw)


def plus(at, **delta):
    """A time of an answer, so much later."""
    later = datetime.fromisoformat(at) + timedelta(**delta)
    return later.isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.fixture(scope="module")
def listed():
    """One request was refused by the last sweep, one came too late, one is new, one came since."""
    with App(settings=YEARLY, graph_options=("--requests", "0")) as app:
        quiet(app)
        put(app, REFUSED, completedDateTime=ago(days=2))
        put(app, EXPIRED, completedDateTime=ago(days=15), state="partiallyDelivered")
        put(app, REMOVAL, completedDateTime=ago(minutes=1), requestType="adminRemove")
        app.fault("reprocess", "status", status=400, code="Busy", message="Still retrying.")
        app.sweep()
        put(app, DUE, completedDateTime=ago(hours=3), requestorName=FORMULA)
        fresh(app)
        yield app


def test_without_a_key_there_is_no_list(listed):
    """Nor with a wrong one; nothing is called."""
    assert [401, 401] == [get(listed, key=key).status for key in ("", "wrong")]


def test_behind_authentication_the_role_opens_the_list(guarded):
    """Nobody, somebody without the role, somebody with it."""
    other = principal(("appid", APP), ("idtyp", "app"))
    allowed = principal(("appid", APP), ("idtyp", "app"), ("roles", ROLE))

    assert [401, 403, 200] == [get(guarded, **one).status for one in ({}, other, allowed)]


def test_the_whole_list(listed):
    """Names as Graph has them, plans and attempts as the sweep has them, in its order."""
    reply = get(listed)

    check(reply, "GET", "/requests")
    body = reply.body
    due, removal, refused, expired = body["value"]
    assert {
        "requestId": DUE,
        "requestType": "userAdd",
        "removal": False,
        "state": "deliveryFailed",
        "statusText": "DeliveryFailed",
        "accessPackageId": PACKAGE,
        "accessPackageName": "Sales Team",
        "requestorId": "bbbbbbbb-0000-4000-8000-000000000001",
        "requestorName": FORMULA,
        "requestorEmail": "adele@contoso.example",
        "createdAt": plus(due["completedAt"], hours=-1),
        "completedAt": due["completedAt"],
        "windowEndsAt": plus(due["completedAt"], days=14),
        "hoursLeft": 332.9,
        "attempts": 0,
        "plan": "due",
    } == due
    assert (REMOVAL, True, "cooling", plus(removal["completedAt"], minutes=15)) == (
        removal["requestId"],
        removal["removal"],
        removal["plan"],
        removal["nextAttemptAt"],
    )
    assert (REFUSED, 1, "refused", "cooling") == (
        refused["requestId"],
        refused["attempts"],
        refused["lastOutcome"],
        refused["plan"],
    )
    assert "Still retrying (HTTP 400 Busy)" == refused["lastRefusal"]
    assert refused["lastAttemptAt"] < refused["nextAttemptAt"] < refused["windowEndsAt"]
    assert (EXPIRED, "partiallyDelivered", "expired", 0.0) == (
        expired["requestId"],
        expired["state"],
        expired["plan"],
        expired["hoursLeft"],
    )
    assert {"due": 1, "cooling": 2, "exhausted": 0, "expired": 1, "excluded": 0} == body["counts"]
    assert (True, None) == (body["listComplete"], body.get("nextLink"))
    sweep = body["lastSweep"]
    assert ZERO | {"found": 3, "due": 1, "refused": 1, "cooling": 1, "expired": 1} == {
        name: sweep[name] for name in ZERO
    }
    assert sweep["at"] <= body["asOf"]


def test_the_same_as_a_file_for_a_spreadsheet(listed):
    """The same rows; a name that would be a formula is text."""
    rows = get(listed).body["value"]
    reply = get(listed, accept="text/csv")

    assert (200, "text/csv; charset=utf-8") == (reply.status, reply.headers["content-type"])
    assert reply.headers["content-disposition"].startswith('attachment; filename="failed-requests-')
    assert "\ufeff" == reply.body[0]
    read = list(csv.DictReader(io.StringIO(reply.body[1:], newline="")))
    assert [one["requestId"] for one in rows] == [one["requestId"] for one in read]
    assert f"'{FORMULA}" == read[0]["requestorName"]
    assert [str(one["hoursLeft"]) for one in rows] == [one["hoursLeft"] for one in read]


def test_pages_follow_their_links(listed):
    """Their address is the app's own."""
    first = get(listed, "?limit=3&plan=due,cooling,expired").body
    link = urlsplit(first["nextLink"])
    second = get(listed, f"?{link.query}").body

    assert f"{listed.url}/api/requests" == f"{link.scheme}://{link.netloc}{link.path}"
    numbers = [[one["requestId"][-1] for one in page["value"]] for page in (first, second)]
    assert [3, 1] == [len(page) for page in numbers]
    assert set("0123") == {one for page in numbers for one in page}
    assert "nextLink" not in second


def test_one_list_of_graph_serves_all_of_these(listed):
    """In half a minute, whatever is asked."""
    get(listed)
    listed.control("DELETE", "log")

    replies = [get(listed, query) for query in ("", "?plan=due", "?type=removal", "?limit=1")]

    assert [200] * 4 == [reply.status for reply in replies]
    assert [] == listed.control("GET", "log")["log"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?plan=dew", "'plan' should be one or several of due"),
        ("?state=x", "'state' should be one or several of deliveryFailed"),
        ("?type=1", "'type' should be one or several request types"),
        ("?accessPackage=x", "'accessPackage' should be one or several ids"),
        ("?limit=x", "'limit' should be a whole number"),
        ("?after=x", "'after' should be"),
        ("?other=x", "'other' is not a parameter here"),
    ],
)
def test_a_wrong_parameter_is_a_defined_problem(listed, query, says):
    """Each that the connector knows, and one that it does not."""
    reply = get(listed, query)

    assert "invalid-parameter" == check(reply, "GET", "/requests")
    assert reply.body["detail"].startswith(says)


def test_an_access_package_without_a_role_costs_itself():
    """The identity has a role on one catalog only."""
    settings = {**YEARLY, "SWEEP_ACCESS_PACKAGES": f"{PACKAGE},{OTHER}"}
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        mine = "cccccccc-0000-4000-8000-000000000001"
        put(app, DUE, completedDateTime=ago(hours=3), catalogId=mine, catalogName="Mine")
        put(app, REFUSED, accessPackageId=OTHER, catalogId=mine.replace("1", "2"))
        app.control("PATCH", "settings", {"roles": [], "catalogs": [mine]})

        reply = get(app)

    check(reply, "GET", "/requests")
    assert [DUE] == [one["requestId"] for one in reply.body["value"]]
    assert (False, [OTHER]) == (reply.body["listComplete"], reply.body["unlisted"])
    assert "It looks like the role scope" in reply.body["detail"]
    assert reply.body["lastSweep"] is None


def test_a_table_that_does_not_answer_is_a_defined_problem():
    """It says what to look at."""
    key = "QUJD"
    table = f"http://127.0.0.1:{free_port()}/account"
    storage = f"AccountName=account;AccountKey={key};TableEndpoint={table};"
    with App(settings={**YEARLY, "AzureWebJobsStorage": storage}) as app:
        reply = get(app)

    assert "attempts-unreadable" == check(reply, "GET", "/requests")
    assert key not in json.dumps(reply.body)
