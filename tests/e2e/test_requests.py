"""The list of failed requests through the running app: names from Graph, plans of the sweep.

Not for: filters, pages, formats and problems (unit/test_failed_requests.py, unit/test_list_query.py).
"""

from __future__ import annotations

import csv
import http.client
import io
import json
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from tests.support.definition import check
from tests.support.local_app import ZERO, App, Reply, ago, fresh, quiet

PACKAGE = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"
FORMULA = '=HYPERLINK("https://x.example","Adele")'
REFUSED, EXPIRED, REMOVAL, DUE = (f"e0000000-0000-4000-8000-00000000010{n}" for n in range(4))
YEARLY = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "HTTP_BUDGET_SECONDS": "12"}
NEWER = {"cause", "causeId", "history"}  # proven where they are made


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


def get(app, query="", **headers):
    """Ask for the list; what is no JSON stays text."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=30)
    given = {"x-functions-key": app.function_key, **headers}
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
        "firstFailedAt": due["completedAt"],
        "completedAt": due["completedAt"],
        "windowEndsAt": plus(due["completedAt"], days=14),
        "hoursLeft": 332.9,
        "attempts": 0,
        "plan": "due",
    } == {name: value for name, value in due.items() if name not in NEWER}
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


def test_pages_follow_their_links(listed):
    """Their address is the app's own; the query goes there and back through the host."""
    first = get(listed, "?limit=3&plan=due,cooling,expired").body
    link = urlsplit(first["nextLink"])
    second = get(listed, f"?{link.query}").body

    assert f"{listed.url}/api/requests" == f"{link.scheme}://{link.netloc}{link.path}"
    assert [3, 1] == [len(page["value"]) for page in (first, second)]
    assert 4 == len({one["requestId"] for page in (first, second) for one in page["value"]})
    assert "nextLink" not in second


def test_an_access_package_without_a_role_costs_itself():
    """With a role on one catalog only: the list, the diagnosis and the sweep name the other one."""
    settings = {**YEARLY, "SWEEP_ACCESS_PACKAGES": f"{PACKAGE},{OTHER}"}
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        mine = "cccccccc-0000-4000-8000-000000000001"
        put(app, DUE, completedDateTime=ago(hours=3), catalogId=mine, catalogName="Mine")
        put(app, REFUSED, accessPackageId=OTHER, catalogId=mine.replace("1", "2"))
        app.control("PATCH", "settings", {"roles": [], "catalogs": [mine]})

        reply, diagnosis, report = get(app), app.call("GET", "/api/diagnosis"), app.sweep()

    check(reply, "GET", "/requests")
    assert [DUE] == [one["requestId"] for one in reply.body["value"]]
    assert (False, [OTHER]) == (reply.body["listComplete"], reply.body["unlisted"])
    assert "role scope" in reply.body["detail"]
    assert ["graph"] == [
        one["name"] for one in diagnosis.body["checks"] if one["result"] == "failed"
    ]
    assert (1, 1, False) == (report["found"], report["accepted"], report["ok"])
    assert OTHER in report["error"]
