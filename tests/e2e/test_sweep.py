"""The timer, run through /admin/functions/sweep as an operator would.

Not for: what a sweep does (tests/test_sweep.py); here is what the invocation says of it.
"""

from __future__ import annotations

import urllib.error

import pytest

from emulator.run import ask
from tests.local_app import ZERO, App, ago, counts, quiet


@pytest.fixture
def app():
    """An app of its own for each test: the attempts in its memory start empty."""
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "SWEEP_BUDGET_SECONDS": "20"}
    with App(settings=settings, graph_options=("--requests", "0")) as local:
        quiet(local)
        yield local


def test_a_sweep_reprocesses_what_is_due_and_reads_it_back(app):
    """All pages, batches of 20, each due request once; the next sweep sees them delivered."""
    ids = app.failures(250)
    app.failures(3, completedDateTime=ago(minutes=5))
    app.failures(2, completedDateTime=ago(days=15))

    first, second = app.sweep(), app.sweep()

    assert ZERO | {"found": 255, "due": 250, "accepted": 250, "cooling": 3, "expired": 2} == counts(
        first
    )
    assert ZERO | {"found": 5, "cooling": 3, "expired": 2, "delivered": 250} == counts(second)
    assert sorted(ids) == sorted(e["requestId"] for e in app.calls("reprocess"))
    assert (True, True, True) == (first["ok"], first["listComplete"], second["ok"])


def test_an_unreadable_list_fails_the_invocation(app):
    """One sentence says what was wrong; nothing is tried."""
    app.control("PATCH", "settings", {"roles": []})

    report = app.sweep()

    assert (False, 0) == (report["ok"], report["found"])
    assert "the failed requests could not be listed" in report["error"]
    assert "EntitlementManagement.ReadWrite.All" in report["error"]  # what to do about it


def test_wrong_settings_fail_every_call_with_all_their_names():
    """HTTP says 500 misconfigured, the sweep fails, both name every setting."""
    with App(settings={"GRAPH_CLOUD": "mars", "SWEEP_MAX_ATTEMPTS": "0"}) as app:
        reply = app.reprocess("7999249e-249e-7999-9e24-99799e249979")
        with pytest.raises(urllib.error.HTTPError) as failed:
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
        app.failures(3, accessPackageId=package, accessPackageName="P", catalogId=own)
        (foreign,) = app.failures(1, accessPackageId=other, accessPackageName="Q", catalogId=other)
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
        app.failures(1)
        assert 1 == app.sweep()["accepted"]
