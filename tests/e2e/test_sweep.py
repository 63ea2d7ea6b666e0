"""The timer, run through /admin/functions/sweep as an operator would.

Not for: what a sweep does (unit/test_sweep.py); here is what the invocation says of it.
"""

from __future__ import annotations

import json
import urllib.error

import pytest

from emulator.run import ask
from tests.support.local_app import ZERO, App, ago, counts, quiet


def test_a_sweep_reprocesses_what_is_due_and_reads_it_back():
    """All pages, batches of 20, each due request once; the next sweep sees them delivered.

    The token is of a user-assigned identity, which AZURE_CLIENT_ID names.
    """
    client_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "AZURE_CLIENT_ID": client_id}
    options = ("--requests", "0", "--client-id", client_id)
    with App(settings=settings, graph_options=options) as app:
        quiet(app)
        ids = app.failures(250)
        app.failures(3, completedDateTime=ago(minutes=5))
        app.failures(2, completedDateTime=ago(days=15))

        first, second = app.sweep(), app.sweep(past_due=True)

        posted = [entry["requestId"] for entry in app.calls("reprocess")]
    assert ZERO | {"found": 255, "due": 250, "accepted": 250, "cooling": 3, "expired": 2} == counts(
        first
    )
    assert ZERO | {"found": 5, "cooling": 3, "expired": 2, "delivered": 250} == counts(second)
    assert sorted(ids) == sorted(posted)
    assert [True] * 3 == [first["ok"], first["listComplete"], second["ok"]]
    assert [False, True] == [first["pastDue"], second["pastDue"]]
    lines = [json.loads(one[one.index("{") :]) for one in app.lines if '"event"' in one]
    others = {one["event"] for one in lines if "sweepId" not in one}
    assert set() == others - {"app started", "attempts kept in memory"}  # once for the process
    assert [] == app.lost()


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
