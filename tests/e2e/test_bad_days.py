"""Bad days: sweeps that are killed, several at once, and fourteen days in which causes get fixed.

Here the attempt records are in Table Storage (Azurite). `make soak` runs the same for longer:
SOAK=10. Not for: single interleavings (unit/test_worlds.py).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from attempt_store import AttemptStore
from emulator.azurite import Azurite
from emulator.run import APP
from graph import Graph
from reprocess_timer.sweep import run_sweep
from settings import load
from table import Table
from table_client import _Transport, new_client
from tests.support.local_app import ZERO, App, ago, counts, quiet

SOAK = int(os.environ.get("SOAK") or 1)
DAY = timedelta(days=1)
pytestmark = pytest.mark.timeout(300 * SOAK)
_tables = itertools.count()


@pytest.fixture
def app(azurite):
    """An emulated Graph and identity; the sweeps run in processes of the tests' own."""
    with App(graph_options=("--requests", "0")) as local:
        quiet(local)
        local.control("PATCH", "settings", {"pageSize": 1000})
        local.environ = {
            "GRAPH_ENDPOINT": local.graph_url,
            "IDENTITY_ENDPOINT": f"{local.graph_url}/msi/token",
            "IDENTITY_HEADER": local.identity_header,
            "AzureWebJobsStorage": azurite.connection_string,
            "ATTEMPTS_TABLE": f"badDays{next(_tables)}",
        }
        yield local


def sweeps(app, **how):
    """Run tests/support/sweep_processes.py; return the reports of the sweeps that came to their end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.sweep_processes", json.dumps(how)],
        cwd=APP,
        env=os.environ | app.environ,
        capture_output=True,
        check=True,
        timeout=250 * SOAK,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def posts(app):
    """Return how often each request was POSTed since the log was last emptied."""
    return Counter(entry["requestId"] for entry in app.calls("reprocess"))


def in_this_process(app, monkeypatch, now=lambda: datetime.now(UTC)):
    """What `run_sweep` takes, with the app's settings."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, app.environ[name])
    settings = load(app.environ)
    return Graph(settings, now=now), AttemptStore(Table(new_client(settings)), now), settings


def hopeless(app, count):
    """Put requests that fail again at once, until their cause is fixed in an hour."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    return app.failures(count, fixedAt=soon, deliverySeconds=0)


def test_a_sweep_killed_at_any_moment_tries_nothing_twice_and_loses_nothing(app):
    """One kill at each moment of a sweep, within one cool-down: no second POST. Then: all again.

    Every request fails again at once, so each sweep finds it failed; only its claim protects it.
    """
    ids = hopeless(app, 600 * SOAK)  # more than the sweeps that are killed can try
    app.environ |= {
        "SWEEP_MAX_REQUESTS": str(16 * SOAK),
        "GRAPH_BATCH_SIZE": "2",
        "GRAPH_CONCURRENCY": "2",
    }

    *killed, _ended = sweeps(app, kill=True)
    tried = posts(app)
    app.environ |= {"SWEEP_MAX_REQUESTS": "100000", "GRAPH_BATCH_SIZE": "20"}
    sweeps(app)
    rest = posts(app)
    app.control("DELETE", "log")
    app.control("POST", "clock", {"advanceSeconds": 2 * 3600})
    (report,) = sweeps(app, advanced=2 * 3600)
    again = posts(app)

    print(f"{len(ids) - len(rest)} requests were caught between their claim and their POST")
    assert 50 <= len(killed)
    assert len(tried) < len(rest) < len(ids)
    assert (1, 1) == (max(rest.values()), max(again.values()))
    assert (len(ids), len(ids), "") == (report["due"], report["accepted"], report["problem"])
    assert set(ids) == set(again)


def test_instances_that_sweep_at_once_send_each_request_once(app):
    """Four have planned the same, and share one table: at first without rows, then with them."""
    ids = hopeless(app, 120 * SOAK)
    for advanced in (0, 2 * 3600):
        app.control("DELETE", "log")
        app.control("POST", "clock", {"advanceSeconds": advanced})

        reports = sweeps(app, instances=4, advanced=advanced)

        assert [(len(ids), "")] * 4 == [(one["due"], one["problem"]) for one in reports]
        assert len(ids) == sum(one["accepted"] for one in reports)
        assert dict.fromkeys(ids, 1) == posts(app)


def history(app, dice, start):
    """Put 300 failed requests, some failed just now, some found late; most are fixed one day."""
    requests, put = {}, []
    for request_id in app.failures(300):
        failed = start - timedelta(days=dice.choice([0.1, 0.1, dice.uniform(0.1, 13)]))
        fixed = start + timedelta(days=dice.choice([dice.uniform(0, 1), dice.uniform(0, 12), 99]))
        requests[request_id] = (failed, fixed)
        times = {"completedDateTime": failed.isoformat(), "fixedAt": fixed.isoformat()}
        put.append({"id": request_id, "deliverySeconds": 60, **times})
    app.put(*put)
    return requests


def test_fourteen_days_in_which_causes_get_fixed(app, monkeypatch, record_property):
    """Every request that becomes deliverable in its window with attempts left is delivered.

    Left out are those fixed after the last call, a first cool-down before their window closes, and
    the sweep that follows it. No request is tried more often than SWEEP_MAX_ATTEMPTS.
    """
    every = timedelta(minutes=180 if SOAK == 1 else 60 // min(SOAK, 4))
    app.environ["SWEEP_COOLDOWN_MINUTES"] = str(every // timedelta(minutes=1))
    start, ahead = datetime.now(UTC), timedelta()
    requests = history(app, random.Random(14), start)

    def now():
        return datetime.now(UTC) + ahead

    graph, attempts, settings = in_this_process(app, monkeypatch, now)
    tried, calls, naive = defaultdict(list), 0, 0

    for number in range(timedelta(days=14) // every):
        passed = number * every
        ahead = passed
        run_sweep(graph, attempts, settings)
        log = app.control("GET", "log")["log"]
        for entry in log:
            calls += entry["operation"] in {"list", "read", "reprocess"}
            if entry["operation"] == "reprocess":
                tried[entry["requestId"]].append(start + passed)
        unfixed = [f for f in requests.values() if f[1] > start + passed or f[1] > f[0] + 14 * DAY]
        naive += 1 + len(unfixed)  # it lists, and retries all that has failed
        app.control("DELETE", "log")
        app.control("POST", "clock", {"advanceSeconds": every.total_seconds()})

    states = {one["id"]: one["state"] for one in app.control("GET", "requests")["requests"]}
    deliverable = {
        request_id
        for request_id, (failed, fixed) in requests.items()
        if fixed < failed + 14 * DAY - 2 * every
        and sum(at < fixed for at in tried[request_id]) < settings.sweep_max_attempts
    }
    record_property("calls", calls)
    record_property("calls of a sweep that retries everything", naive)
    print(f"calls {calls}, retrying everything {naive}: {naive / calls:.0f} times as many")
    assert set() == {one for one in deliverable if states[one] != "delivered"}
    assert 100 < len(deliverable)
    assert max(map(len, tried.values())) <= settings.sweep_max_attempts
    assert calls * 3 < naive


def test_the_whole_app_keeps_its_attempts_by_managed_identity(azurite_tls):
    """No key anywhere: a token opens the table, and HTTP attempts are in it; a restart keeps all."""
    settings = {
        "AzureWebJobsStorage__tableServiceUri": azurite_tls.uri,
        "REQUESTS_CA_BUNDLE": str(azurite_tls.certificate),
        "ATTEMPTS_TABLE": f"badDays{next(_tables)}",
    }
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        (by_hand,) = app.failures(1, outcomes=["deliveryFailed"])
        by_sweep = app.failures(30, outcomes=["deliveryFailed"])
        reply = app.reprocess(by_hand)
        before = app.sweep()
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        app.put(*({"id": one, "completedDateTime": ago(hours=2)} for one in [by_hand, *by_sweep]))
        after = app.sweep()

    assert 202 == reply.status
    assert ZERO | {"found": 31, "due": 30, "accepted": 30, "cooling": 1} == counts(before)
    assert ZERO | {"found": 31, "cooling": 31} == counts(after)


def test_a_table_that_goes_in_the_middle_ends_the_sweep_and_loses_nothing(app, monkeypatch):
    """What was claimed is tried, the rest is postponed; the problem says what to check."""
    monkeypatch.setattr(_Transport, "sleep", lambda *_: None)  # between azure-core's tries
    app.failures(200)
    app.control("PATCH", "settings", {"latencyMs": 50})
    app.environ["GRAPH_CONCURRENCY"] = "1"
    with Azurite() as table, ThreadPoolExecutor() as pool:
        app.environ["AzureWebJobsStorage"] = table.connection_string
        sweeping = pool.submit(run_sweep, *in_this_process(app, monkeypatch))
        while not app.calls("batch"):
            time.sleep(0.02)
        table.stop()
        report = sweeping.result()

    assert 200 == report.counts["accepted"] + report.counts["postponed"]
    assert 0 < report.counts["accepted"] < 200
    assert report.problem.startswith("attempt records could not be written")
    assert "check the storage account's address and network" in report.problem


def test_a_lost_table_delays_no_answer():
    """A reprocess over HTTP reads Graph first and is answered; the log says where its record is."""
    with Azurite() as table:
        settings = {"AzureWebJobsStorage": table.connection_string}
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        (request_id,) = app.failures(1, deliverySeconds=60)
        started = time.monotonic()
        reply = app.reprocess(request_id)
        took = time.monotonic() - started
        lines = app.logged("attempts kept in memory")
        again = app.reprocess(request_id)

    assert [request_id] == [one["requestId"] for one in lines]
    assert (202, "alreadyDelivering") == (reply.status, again.body["outcome"])
    assert took < 2
