"""The list of failed requests through the running app: names from Graph, plans of the sweep.

Not for: its members, filters and formats (unit/test_failed_requests.py, unit/test_list_query.py).
"""

from __future__ import annotations

import csv
import io
from urllib.parse import urlsplit

import pytest

from tests.support.definition import check
from tests.support.local_app import ZERO, App, ago, fresh, quiet

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
    }
    app.put({"id": request_id, **names, **fields})


def get(app, query="", **headers):
    return app.call("GET", f"/api/requests{query}", **headers)


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


def test_the_list_has_what_graph_and_the_sweep_know(listed):
    """Names as Graph has them, plans and attempts as the sweep has them, in its order."""
    reply = get(listed)

    check(reply, "GET", "/requests")
    body = reply.body
    names = ("requestId", "removal", "state", "plan", "attempts", "requestorName")
    adele = "Adele Vance"
    assert [
        (DUE, False, "deliveryFailed", "due", 0, FORMULA),
        (REMOVAL, True, "deliveryFailed", "cooling", 0, adele),
        (REFUSED, False, "deliveryFailed", "cooling", 1, adele),
        (EXPIRED, False, "partiallyDelivered", "expired", 0, adele),
    ] == [tuple(one[name] for name in names) for one in body["value"]]
    due = body["value"][0]
    assert ("Sales Team", "adele@contoso.example") == (
        due["accessPackageName"],
        due["requestorEmail"],
    )
    assert "refused" == body["value"][2]["lastOutcome"]
    assert {"due": 1, "cooling": 2, "exhausted": 0, "expired": 1, "excluded": 0} == body["counts"]
    assert (True, None) == (body["listComplete"], body.get("nextLink"))
    found = {"found": 3, "due": 1, "refused": 1, "cooling": 1, "expired": 1}
    assert ZERO | found == {name: body["lastSweep"][name] for name in ZERO}


def test_the_same_as_a_file_for_a_spreadsheet(listed):
    """The same rows; a name that would be a formula is text."""
    reply = get(listed, accept="text/csv")

    assert (200, "text/csv; charset=utf-8") == (reply.status, reply.headers["content-type"])
    read = list(csv.DictReader(io.StringIO(reply.body.removeprefix("\ufeff"), newline="")))
    assert [DUE, REMOVAL, REFUSED, EXPIRED] == [one["requestId"] for one in read]
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
    failed = [one["name"] for one in diagnosis.body["checks"] if one["result"] == "failed"]
    assert ["graph"] == failed
    assert (1, 1, False) == (report["found"], report["accepted"], report["ok"])
    assert OTHER in report["error"]
