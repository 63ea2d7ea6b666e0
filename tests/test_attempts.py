"""attempts.py: claims are taken once, given back whole, and never overwrite what is newer."""

from datetime import UTC, datetime, timedelta

from attempts import Attempt, MemoryAttempts

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
A, B = (f"{n}0000000-0000-4000-8000-000000000000" for n in "ab")


def test_of_two_claims_on_the_same_reading_one_wins():
    """The second instance is left without the claim."""
    attempts = MemoryAttempts()

    first = attempts.claim([Attempt(A), Attempt(B)], AT)
    second = attempts.claim([Attempt(A)], AT)

    assert ([1, 1], []) == ([claim.now.count for claim in first], second)


def test_a_claim_given_back_leaves_what_was_before():
    """Neither count nor time of the earlier attempt changes."""
    attempts = MemoryAttempts()
    attempts.claim([Attempt(A)], AT)
    before = attempts.read_all()[A]

    attempts.give_back(attempts.claim([before, Attempt(B)], AT + timedelta(hours=1)))

    stored = attempts.read_all()
    assert ({A}, 1, AT) == (set(stored), stored[A].count, stored[A].last)


def test_a_claim_is_not_given_back_over_a_newer_attempt():
    """What was recorded meanwhile stays."""
    attempts = MemoryAttempts()
    claims = attempts.claim([Attempt(A)], AT)
    attempts.record(A, AT + timedelta(minutes=1))

    attempts.give_back(claims)

    assert 2 == attempts.read_all()[A].count


def test_a_settled_request_starts_over_only_by_being_forgotten():
    """Settling keeps the attempt, forgetting removes it."""
    attempts = MemoryAttempts()
    attempts.record(A, AT)

    attempts.settle([A, B])
    settled = attempts.read_all()
    attempts.forget([A, B])

    assert ([True], {}) == ([row.settled for row in settled.values()], attempts.read_all())


def test_a_deferral_keeps_the_attempts_and_ends_with_the_next_claim():
    """Deferred once, taken once; count and time of earlier attempts stay."""
    attempts = MemoryAttempts()
    attempts.record(A, AT)

    attempts.defer(A)
    attempts.defer(B)
    deferred = attempts.read_all()
    claims = attempts.claim([deferred[A]], AT + timedelta(minutes=1))

    assert {A: (1, True), B: (0, True)} == {i: (r.count, r.deferred) for i, r in deferred.items()}
    assert [(2, False)] == [(claim.now.count, claim.now.deferred) for claim in claims]
