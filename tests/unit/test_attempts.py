"""attempts.py: how a claim and its outcome change a record, and how a record is read later."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attempts import (
    NEVER,
    SLOTS,
    AttemptRecord,
    Change,
    Claim,
    Decision,
    Entry,
    Outcome,
    as_known,
    blank,
    claim_change,
    decision_change,
    is_young,
    printable,
    renewal_change,
)

A = "a0000000-0000-4000-8000-000000000000"
NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=3)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

TRIED = AttemptRecord(
    A,
    claim_id="first",
    claimed_at=EARLIER,
    outcome=Outcome.ACCEPTED,
    accepted_at=EARLIER + SECOND,
    count=2,
    tries=4,
    last_attempt_at=EARLIER,
    first_failed_at=EARLIER - MINUTE,
    deferred_at=EARLIER - SECOND,
    notified_reasons=frozenset({"expiring"}),
    etag="1",
)


def claimed(before: AttemptRecord = TRIED, **since: object) -> Claim:
    """A claim of now, and what was written onto its row since."""
    record = claim_change(before, "second", "sweep", NOW).record
    return Claim(before, replace(record, etag="2", **since), "sweep")


# -- claiming --


def test_a_claim_is_written_before_each_send_and_counts_nothing_yet():
    """It raises `tries`, which numbers its history slot, and makes the record active again."""
    change = claim_change(replace(TRIED, completed=True), "second", "sweep", NOW)

    assert change == Change(
        replace(TRIED, claim_id="second", claimed_at=NOW, outcome=Outcome.CLAIMED, tries=5),
        Entry(NOW, "sweep", Outcome.CLAIMED),
    )


def test_without_a_known_failure_the_first_attempt_is_the_first_failure():
    """The window counts from there; a failure that is known stays."""
    assert NOW == claim_change(blank(A), "id", "sweep", NOW).record.first_failed_at
    assert TRIED.first_failed_at == claimed().record.first_failed_at


def test_a_renewed_claim_keeps_its_slot_and_counts_nothing():
    """One write puts a new claim of ours in place of the old one."""
    claim, later = claimed(), NOW + 7 * SECOND
    change = renewal_change(claim, "third", later)

    assert change == Change(
        replace(claim.record, claim_id="third", claimed_at=later),
        Entry(later, "sweep", Outcome.CLAIMED),
    )


# -- outcomes --


@pytest.mark.parametrize("outcome, count, deferred_at", [
    (Outcome.ACCEPTED, 3, None),
    (Outcome.REFUSED, 3, None),
    (Outcome.UNKNOWN, 3, None),
    (Outcome.DENIED, 2, None),
    (Outcome.FAILED, 2, NOW + SECOND),
])  # fmt: skip
def test_an_outcome_is_that_of_the_claims_attempt(outcome, count, deferred_at):
    """What Graph judged or may have accepted counts; the entry goes into the claim's slot.

    A deferral is written with it, so that a kill leaves no promise without its outcome. A completed
    request that failed again is active.
    """
    claim, accepted_at = claimed(replace(TRIED, completed=True)), NOW + SECOND
    decision = Decision(claim, outcome, accepted_at, "Graph's words", deferred_at)

    assert decision_change(decision) == Change(
        replace(
            TRIED,
            claim_id="second",
            claimed_at=NOW,
            outcome=outcome,
            accepted_at=accepted_at,
            count=count,
            tries=5,
            last_attempt_at=NOW,
            deferred_at=deferred_at or TRIED.deferred_at,
            etag="2",
        ),
        Entry(NOW, "sweep", outcome, "Graph's words"),
    )


def test_a_released_claim_leaves_the_record_as_it_was():
    """Its slot is emptied, `tries` restored; the first failure that came with it is kept."""
    seen = TRIED.first_failed_at - MINUTE
    claim = claimed(replace(TRIED, first_failed_at=seen))
    change = decision_change(Decision(Claim(TRIED, claim.record, "sweep"), None))

    assert change == Change(
        replace(TRIED, claim_id="", first_failed_at=seen, etag="2"),
        Entry(NEVER, "", Outcome.NONE),
        slot=5 % SLOTS,
    )


@pytest.mark.parametrize("text, kept", [("a\n\x00b\ud800é", "a  b é"), ("x" * 999, "x" * 200)])
def test_graphs_words_are_kept_as_a_table_can_keep_them(text, kept):
    """Printable, and 200 characters of them."""
    change = decision_change(Decision(claimed(), Outcome.REFUSED, words=text))

    assert kept == change.entry.words == printable(text)


# -- reading --


@pytest.mark.parametrize("seconds, young", [(-299, True), (39.9, True), (40, False)])
def test_a_claim_is_young_for_forty_seconds(seconds, young):
    """Also one that another instance's clock has written up to five minutes ahead."""
    now = NOW + timedelta(seconds=seconds)
    record = claimed().record

    assert young == is_young(as_known(record, now), now)


def test_a_claim_that_got_no_outcome_in_time_is_an_unknown_attempt():
    """Its time is the claim's, it counts, and the next claim writes that down."""
    record = claimed().record
    known = as_known(record, NOW + MINUTE)
    again = claim_change(known, "third", "caller", NOW + MINUTE).record

    assert known == replace(record, outcome=Outcome.UNKNOWN, count=3, last_attempt_at=NOW)
    assert (3, NOW) == (again.count, again.last_attempt_at)
    assert 4 == as_known(again, NOW + 2 * MINUTE).count


def test_a_stored_time_more_than_five_minutes_ahead_is_no_time():
    """A clock was wrong; the record would cool down for ever."""
    at, stored = NOW + 5 * MINUTE, ("claimed_at", "last_attempt_at")
    optional = ("accepted_at", "first_failed_at", "deferred_at")
    ahead = replace(TRIED, **dict.fromkeys((*stored, *optional), at))
    none = dict.fromkeys(stored, NEVER) | dict.fromkeys(optional)

    assert ahead == as_known(ahead, NOW)
    assert replace(TRIED, **none) == as_known(ahead, NOW - SECOND)


@pytest.mark.parametrize("deferred_at, open_", [(None, False), (EARLIER, False), (EARLIER + SECOND, True)])  # fmt: skip
def test_a_deferral_is_open_until_the_next_attempt(deferred_at, open_):
    """While it is later than the last attempt."""
    assert open_ == replace(TRIED, deferred_at=deferred_at).is_deferred


@pytest.mark.parametrize("outcome, seconds, recent", [
    (Outcome.ACCEPTED, 299, True),
    (Outcome.UNKNOWN, 299, True),
    (Outcome.ACCEPTED, 300, False),
    (Outcome.REFUSED, 1, False),
    (Outcome.FAILED, 1, False),
])  # fmt: skip
def test_for_five_minutes_graph_may_not_show_what_it_may_have_accepted(outcome, seconds, recent):
    """Counted from the claim."""
    record = replace(TRIED, outcome=outcome)

    assert recent == record.is_recent(EARLIER + timedelta(seconds=seconds))
