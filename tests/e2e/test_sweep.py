"""The timer, run through /admin/functions/sweep: its counts, and bad days."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.conftest import App, quiet

_numbers = itertools.count()
ZERO = dict.fromkeys(
    (
        "found",
        "due",
        "accepted",
        "refused",
        "failed",
        "cooling",
        "exhausted",
        "expired",
        "excluded",
        "postponed",
        "delivered",
        "delivering",
        "other",
        "throttled",
    ),
    0,
)


def ago(**delta):
    return (datetime.now(UTC) - timedelta(**delta)).isoformat().replace("+00:00", "Z")


def failures(app, count, **fields):
    """Put failed requests, two hours old, into the tenant; return their ids."""
    ids = [
        str(uuid.UUID(int=0xF << 124 | 4 << 76 | 8 << 60 | next(_numbers))) for _ in range(count)
    ]
    app.put(
        *({"id": i, "completedDateTime": ago(hours=2), "deliverySeconds": 0, **fields} for i in ids)
    )
    return ids


def counts(report):
    return {name: value for name, value in report.items() if name in ZERO}


@pytest.fixture
def app():
    """An app of its own for each test: the attempts in its memory start empty."""
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "SWEEP_BUDGET_SECONDS": "20"}
    with App(settings=settings, graph_options=("--requests", "0")) as local:
        quiet(local)
        yield local


def test_a_sweep_reprocesses_what_is_due_and_reads_it_back(app):
    """All pages, batches of 20, each due request once; the next sweep sees them delivered."""
    ids = failures(app, 250)
    failures(app, 3, completedDateTime=ago(minutes=5))
    failures(app, 2, completedDateTime=ago(days=15))

    first, second = app.sweep(), app.sweep()

    assert ZERO | {"found": 255, "due": 250, "accepted": 250, "cooling": 3, "expired": 2} == counts(
        first
    )
    assert ZERO | {"found": 5, "cooling": 3, "expired": 2, "delivered": 250} == counts(second)
    assert sorted(ids) == sorted(e["requestId"] for e in app.calls("reprocess"))
    assert (True, True, True) == (first["ok"], first["listComplete"], second["ok"])


def test_a_request_that_fails_again_cools_down(app):
    """The same request is not tried again within its cool-down."""
    failures(app, 2, outcomes=["deliveryFailed"])

    first, second = app.sweep(), app.sweep()

    assert ZERO | {"found": 2, "due": 2, "accepted": 2} == counts(first)
    assert ZERO | {"found": 2, "cooling": 2} == counts(second)


@pytest.mark.parametrize(
    "settings",
    [
        {"GRAPH_API_VERSION": "beta"},
        {"GRAPH_API_VERSION": "beta", "GRAPH_REQUESTS_PATH": "accessPackageAssignmentRequests"},
        {"GRAPH_BATCH_SIZE": "1"},
    ],
    ids=str,
)
def test_every_version_and_path_of_graph_is_swept(settings):
    """beta, the legacy path, and single calls come to the same."""
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        failures(app, 25)
        report = app.sweep()

    assert (25, 25, True) == (report["due"], report["accepted"], report["ok"])


@pytest.mark.parametrize("refused", ["batchSupported", "combinedFilterSupported"])
def test_what_graph_does_not_offer_is_done_without(app, refused):
    """No $batch: single calls. No combined filter: one list per state."""
    failures(app, 15)
    failures(app, 15, state="partiallyDelivered")
    app.control("PATCH", "settings", {refused: False})

    assert ZERO | {"found": 30, "due": 30, "accepted": 30} == counts(app.sweep())


def test_one_poisoned_item_costs_only_itself(app):
    """One refusal among a thousand is counted and logged, the rest is delivered."""
    ids = failures(app, 1000)
    app.fault("batchItem", "status", status=400, code="Poison", requestId=ids[30])

    report = app.sweep()

    assert ZERO | {"found": 1000, "due": 1000, "accepted": 999, "refused": 1} == counts(report)
    assert [(ids[30], "Poison")] == [
        (line["requestId"], line["graphErrorCode"]) for line in app.logged("reprocess refused")
    ]


def test_a_batch_whose_answer_is_lost_is_settled_by_its_states(app):
    """Accepted though the connection broke: counted as accepted, and not sent twice."""
    failures(app, 40, deliverySeconds=30)
    app.fault("batch", "dropAfter")

    assert ZERO | {"found": 40, "due": 40, "accepted": 40} == counts(app.sweep())
    assert 40 == len(app.calls("reprocess"))


def test_a_missing_item_is_settled_by_its_state(app):
    """An item without an answer is not taken for a failure when its state has moved."""
    ids = failures(app, 20, deliverySeconds=30)
    app.fault("batchItem", "missing", requestId=ids[3], after=True)

    assert ZERO | {"found": 20, "due": 20, "accepted": 20} == counts(app.sweep())


@pytest.mark.parametrize("form", ["int", "decimal", "date", "none"])
def test_throttling_is_waited_out(app, form):
    """429 in every form: all are accepted in the end, none is lost."""
    failures(app, 60)
    app.control(
        "PATCH", "settings", {"throttle": {"perSecond": 40, "burst": 30, "retryAfter": form}}
    )

    report = app.sweep()

    assert (60, 60, 0) == (report["due"], report["accepted"], report["postponed"])
    assert report["throttled"] > 0


def test_throttling_beyond_the_budget_postpones_and_costs_no_attempt(app):
    """The sweep ends normally; what was not started is due in the next one at once."""
    failures(app, 5)
    app.fault("batch", "status", status=429, retryAfter="3600")

    first, second = app.sweep(), app.sweep()

    assert (True, 5, 0) == (first["ok"], first["postponed"], first["accepted"])
    assert (5, 5) == (second["due"], second["accepted"])


@pytest.mark.parametrize("kind", ["truncated", "html", "dropBefore"])
def test_a_bad_page_costs_a_retry(app, kind):
    """One page of no use is read again."""
    failures(app, 150)
    app.fault("list", kind, skip=1)

    report = app.sweep()

    assert (150, 150, True) == (report["found"], report["accepted"], report["listComplete"])


def test_a_page_answered_503_is_waited_for(app):
    """As long as Graph says, and the list is whole in the end."""
    failures(app, 150)
    app.fault("list", "status", status=503, retryAfter="1", skip=1)

    report = app.sweep()

    assert (150, 150, True) == (report["found"], report["accepted"], report["listComplete"])
    assert report["seconds"]["list"] >= 1


@pytest.mark.parametrize("kind", ["foreignNextLink", "circularNextLink"])
def test_a_false_next_link_ends_the_list_not_the_sweep(app, kind):
    """What was read before it is used, and the report says that the list is not complete."""
    failures(app, 150)
    app.fault("list", kind, times=-1)

    report = app.sweep()

    assert (True, False) == (report["ok"], report["listComplete"])
    assert report["accepted"] == report["due"] > 0


def test_an_unreadable_list_fails_the_invocation(app):
    """One sentence says what was wrong; nothing is tried."""
    app.control("PATCH", "settings", {"roles": []})

    report = app.sweep()

    assert (False, 0) == (report["ok"], report["found"])
    assert "the failed requests could not be listed" in report["error"]
    assert "EntitlementManagement.ReadWrite.All" in report["error"]  # what to do about it


def test_every_due_request_denied_fails_the_invocation(app):
    """A missing permission is not quiet."""
    failures(app, 4)
    app.control("PATCH", "settings", {"roles": ["EntitlementManagement.Read.All"]})

    report = app.sweep()

    assert (False, 4) == (report["ok"], report["failed"])
    assert "every due request failed" in report["error"]
    assert "EntitlementManagement.ReadWrite.All" in report["error"]  # what to do about it


def test_a_dry_run_reports_and_changes_nothing():
    """The same plan, and no POST."""
    with App(settings={"SWEEP_DRY_RUN": "true"}, graph_options=("--requests", "0")) as app:
        failures(app, 30)
        report = app.sweep()
        posted = app.calls("reprocess")

    assert (True, 30, 0, []) == (report["dryRun"], report["due"], report["accepted"], posted)


def test_wrong_settings_fail_every_call_with_all_their_names():
    """HTTP says 500 misconfigured, the sweep fails, both name every setting."""
    with App(settings={"GRAPH_CLOUD": "mars", "SWEEP_MAX_ATTEMPTS": "0"}) as app:
        reply = app.reprocess("7999249e-249e-7999-9e24-99799e249979")
        import urllib.error

        with pytest.raises(urllib.error.HTTPError) as failed:
            from emulator.run import ask

            ask(
                f"{app.url}/admin/functions/sweep?wait=true",
                {"x-functions-key": app.master_key},
                "POST",
                b"{}",
            )

    assert (500, "urn:redeliver:problem:misconfigured") == (reply.status, reply.body["type"])
    said = failed.value.read().decode()
    for name in ("GRAPH_CLOUD", "SWEEP_MAX_ATTEMPTS"):
        assert name in reply.body["detail"]
        assert name in said


@pytest.mark.parametrize(
    ("fault", "says", "name"),
    [
        ({"kind": "status", "status": 400}, "was refused a token", "graph-denied"),
        ({"kind": "status", "status": 500}, "answered HTTP 500", "graph-failed"),
        ({"kind": "dropBefore"}, "did not answer", "graph-failed"),
    ],
    ids=str,
)
def test_no_token_is_said_to_be_the_identitys_doing(fault, says, name):
    """A managed identity refused or failing is told from Graph refused or failing."""
    with App(settings={"HTTP_BUDGET_SECONDS": "3"}) as app:
        app.fault("token", times=-1, **fault)
        reply = app.reprocess("7999249e-249e-7999-9e24-99799e249979")

    assert f"urn:redeliver:problem:{name}" == reply.body["type"]
    assert "managed identity" in reply.body["detail"]
    assert says in reply.body["detail"]


def test_a_catalog_role_that_does_not_reach_this_package_is_said_to_be_the_scope():
    """With catalog roles only: its own packages are swept, another one is 403 with the remedy."""
    package, own, other = (f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
    options = ("--requests", "0", "--roles", "", "--catalogs", own)
    with App(settings={"SWEEP_ACCESS_PACKAGES": package}, graph_options=options) as app:
        failures(app, 3, accessPackageId=package, accessPackageName="P", catalogId=own)
        (foreign,) = failures(app, 1, accessPackageId=other, accessPackageName="Q", catalogId=other)
        report = app.sweep()
        reply = app.reprocess(foreign)

    assert (3, 3, True) == (report["found"], report["accepted"], report["ok"])
    assert (502, "UnAuthorized") == (reply.status, reply.body["graphErrorCode"])
    assert "looks like the role scope" in reply.body["detail"]


def test_a_user_assigned_identity_is_asked_for_by_its_client_id():
    """AZURE_CLIENT_ID reaches the identity endpoint."""
    client_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
    with App(
        settings={"AZURE_CLIENT_ID": client_id},
        graph_options=("--requests", "0", "--client-id", client_id),
    ) as app:
        failures(app, 1)
        assert 1 == app.sweep()["accepted"]
