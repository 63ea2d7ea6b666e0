"""Whole sweeps over generated tenants and outcomes: counts add up, order, cool-downs, allowances.

Below the sweep is a Graph of the test's own that does what hypothesis has chosen. Time is virtual.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attempts import Attempts, Memory
from graph import (
    Accepted,
    GraphDenied,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    Request,
    RequestNotFound,
)
from reprocess_timer import batches
from reprocess_timer.plan import Candidate, cooldown, urgency
from reprocess_timer.sweep import Sweep
from settings import load
from tests.scripted import REQUESTS, World, reply

START = datetime(2026, 11, 24, tzinfo=UTC)
MOST = 2  # SWEEP_MAX_ATTEMPTS
OUTCOMES = ("accepted", "refused", "denied", "throttled", "lost", "arrived", "missing")
SETTINGS = load(
    {
        "GRAPH_CONCURRENCY": "1",
        "GRAPH_BATCH_SIZE": "3",
        "SWEEP_MAX_ATTEMPTS": str(MOST),
        "SWEEP_COOLDOWN_MAX_MINUTES": "120",
        "SWEEP_BUDGET_SECONDS": "600",
    }
)


@dataclass
class Tenant:
    """Stands in for graph.Graph: `outcomes` are those of the calls to come, request by request."""

    requests: dict[str, Request]
    outcomes: list[str]
    seconds: float = 0.0
    tried: list[tuple[str, datetime]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def clock(self):
        self.seconds += 0.001
        return self.seconds

    def now(self):
        return START + timedelta(seconds=self.seconds)

    def sleep(self, seconds):
        self.seconds += seconds

    def failed(self, _deadline, _access_package=None):
        """List the failed ones, each page's last one twice."""
        for n, request in enumerate(self.requests.values()):
            yield request
            if n % 3 == 2:
                yield request

    def reprocess_each(self, ids, _deadline, *, batched):
        outcomes = [self.outcomes.pop() if self.outcomes else "accepted" for _ in ids]
        self.tried += [(one, self.now()) for one in ids]
        if outcomes[0] == "lost":
            raise GraphFailed("lost", lost=True)
        if outcomes[0] == "arrived":
            self.done += ids
            self._deliver(ids)
            raise GraphFailed("lost", lost=True)
        return [self._outcome(one, how) for one, how in zip(ids, outcomes, strict=True)]

    def _outcome(self, one, how):
        if how == "accepted":
            self.done.append(one)
            self._deliver([one])
            return Accepted(self.now(), "", "")
        errors = {"refused": GraphRefused, "denied": GraphDenied, "throttled": GraphThrottled}
        if how in errors:
            return errors[how](how, status=429 if how == "throttled" else 400)
        return GraphFailed("missing", lost=True)

    def _deliver(self, ids):
        for one in ids:
            self.requests.pop(one)

    def read_each(self, ids, _deadline, *, batched):
        return [self.requests.get(one) or RequestNotFound("gone", status=404) for one in ids]


TENANTS = st.lists(
    st.tuples(
        st.sampled_from(["deliveryFailed", "partiallyDelivered", "DeliveryFailed"]),
        st.sampled_from(["userAdd", "adminRemove"]),
        st.one_of(st.none(), st.integers(0, 20 * 24 * 60)),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tenant=TENANTS,
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=40),
    hours=st.lists(st.sampled_from([0, 1, 3, 26]), min_size=1, max_size=8),
)
def test_counts_add_up_and_nobody_is_tried_too_soon_or_too_often(tenant, outcomes, hours):
    """In every sweep of a row of them, whatever Graph answers."""
    ids = [f"{n:08x}-0000-4000-8000-00000000cafe" for n in range(len(tenant))]
    requests = {
        one: Request(one, state, kind, START - timedelta(minutes=ago) if ago is not None else None)
        for one, (state, kind, ago, _) in zip(ids, tenant, strict=True)
    }
    graph = Tenant(dict(requests), outcomes)
    attempts = Attempts(Memory(), graph.now)
    promised = {one for one, (*_, deferred) in zip(ids, tenant, strict=True) if deferred}
    for one in promised:
        attempts.defer(one)
    for pause in hours:
        graph.seconds += pause * 3600
        before, tried = attempts.read_all(), len(graph.tried)
        began = graph.now()
        denies = "denied" in graph.outcomes
        with patch.object(batches.Threads.__init__, "__defaults__", (graph.sleep,)):
            report = Sweep(graph, attempts, SETTINGS, graph.now, graph.clock).run()

        counts, now_tried = report.counts, list(dict(graph.tried[tried:]))
        assert counts.found == (
            counts.due + counts.cooling + counts.exhausted + counts.expired + counts.excluded
        )
        assert counts.due == counts.accepted + counts.refused + counts.failed + counts.postponed
        for one in now_tried:
            row = before.get(one)
            if row and row.count and not row.deferred:
                assert row.count < MOST, "tried more often than allowed"
                over = row.last + cooldown(row, SETTINGS) <= began
                # The last call before the window closes comes one first cool-down after the last.
                assert over or row.last + timedelta(hours=1) <= began, "tried inside a cool-down"
        if not denies:  # a denial has a sample from all over the queue tried first
            wanted = [Candidate(requests[one], attempts_of(before, one)) for one in now_tried]
            assert wanted == sorted(wanted, key=urgency), "not in order"
    sent = Counter(graph.done)
    assert all(number == 1 for number in sent.values()), "delivered twice"


def attempts_of(known, one):
    from attempts import Attempt

    return known.get(one) or Attempt(one)


@settings(max_examples=200, deadline=None)
@given(
    pages=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=6),
    back_to=st.one_of(st.none(), st.integers(0, 5)),
)
def test_pages_are_read_once_each_whatever_is_on_them(pages, back_to):
    """Empty pages and repeated requests are no end; a circle is one, and is told."""
    links = [f"{REQUESTS}?$skiptoken={n}" for n in range(len(pages))]

    def page(n):
        value = [
            {"id": f"{one:08x}-0000-4000-8000-00000000cafe", "state": "deliveryFailed"}
            for one in pages[n]
        ]
        last = n == len(pages) - 1
        following = links[n + 1] if not last else None
        if last and back_to is not None and 0 < back_to < len(pages):
            following = links[back_to]
        body = {"value": value} | ({"@odata.nextLink": following} if following else {})
        return reply(200, body)

    circle = back_to is not None and 0 < back_to < len(pages)
    world = World([page(n) for n in range(len(pages))])
    found = []
    reading = world.graph.failed(world.deadline())
    if circle:
        with pytest.raises(GraphFailed, match="leads back"):
            found.extend(reading)
    else:
        found.extend(reading)

    assert len(world.calls) == len(pages)
    assert [request.id for request in found] == [
        f"{one:08x}-0000-4000-8000-00000000cafe" for one in itertools.chain(*pages)
    ]


def test_a_report_of_nothing_is_json():
    """An empty tenant: every count is 0, and the report can be kept."""
    graph = Tenant({}, [])
    report = Sweep(graph, Attempts(Memory(), graph.now), SETTINGS, graph.now, graph.clock).run()
    assert 0 == sum(value for value in vars_of(report.counts))
    assert json.loads(json.dumps(report.fields(), default=str))["problem"] is None


def vars_of(counts):
    return [getattr(counts, name) for name in counts.__slots__]
