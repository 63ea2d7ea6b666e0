"""attempts.py: claims are taken once, given back whole, and never overwrite what is newer.

Every rule is proven in memory and in Table Storage (Azurite): over http with a key, and over https
with the managed identity's token.
"""

import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest

from attempts import NEVER, Attempt, Attempts, Memory, Recorder, store
from emulator.run import Local
from settings import load

AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
A, B = (f"{n}0000000-0000-4000-8000-000000000000" for n in "ab")
_tables = itertools.count()


def many(count):
    return [Attempt(f"{n:08x}-0000-4000-8000-00000000cafe") for n in range(count)]


@pytest.fixture(scope="session")
def identity():
    """The emulated managed identity, which Azurite's https is asked with."""
    with Local(graph_options=("--requests", "0")) as local:
        yield local


def environ(kind, request, monkeypatch):
    """Return the app settings of one kind of store, with a table of its own."""
    table = {"ATTEMPTS_TABLE": f"attempts{next(_tables)}"}
    if kind == "table, key":
        azurite = request.getfixturevalue("azurite")
        return table | {"AzureWebJobsStorage": azurite.connection_string}
    azurite = request.getfixturevalue("azurite_tls")
    identity = request.getfixturevalue("identity")
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.graph_url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite.certificate))
    return table | {"AzureWebJobsStorage__tableServiceUri": azurite.uri}


@pytest.fixture(params=["memory", "table, key", "table, managed identity"])
def attempts(request, monkeypatch):
    if request.param == "memory":
        return Attempts(Memory())
    return Attempts(store(load(environ(request.param, request, monkeypatch))))


def test_of_two_claims_on_the_same_reading_one_wins(attempts):
    """The second instance is left without the claim, and with those that are still free."""
    first = attempts.claim([Attempt(A)], AT)
    second = attempts.claim([Attempt(A), Attempt(B)], AT)

    assert ([(A, 1, AT)], [(B, 1, AT)]) == tuple(
        [(c.now.request_id, c.now.count, c.now.last) for c in claims] for claims in (first, second)
    )


def test_what_is_read_is_what_was_claimed(attempts):
    """Count, time to the microsecond, and the version to claim on next."""
    claimed = [claim.now for claim in attempts.claim([Attempt(A), Attempt(B)], AT)]

    assert {A: claimed[0], B: claimed[1]} == attempts.read_all()
    assert [2, 2] == [c.now.count for c in attempts.claim(claimed, LATER)]


def test_hundreds_are_claimed_whoever_holds_some_of_them(attempts):
    """More than a transaction takes, three of them taken: all others are claimed."""
    wanted = many(250)
    taken = [wanted[n] for n in (0, 120, 249)]
    attempts.claim(taken, AT)

    claims = attempts.claim(wanted, LATER)

    assert [one for one in wanted if one not in taken] == [claim.before for claim in claims]
    assert 250 == len(attempts.read_all())


def test_of_racing_claims_one_wins_each_request():
    """Sixteen threads, the same hundred requests: every request is claimed exactly once."""
    attempts, won, wanted = Attempts(Memory()), [], many(100)
    racers = [
        threading.Thread(target=lambda: won.extend(attempts.claim(wanted, AT))) for _ in range(16)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert wanted == sorted((claim.before for claim in won), key=lambda one: one.request_id)


def test_a_claim_given_back_leaves_what_was_before(attempts):
    """Neither count nor time of the earlier attempt changes; what was not there goes."""
    attempts.claim([Attempt(A)], AT)
    before = attempts.read_all()[A]

    attempts.give_back(attempts.claim([before, Attempt(B)], LATER))

    stored = attempts.read_all()
    assert {A: (1, AT)} == {i: (row.count, row.last) for i, row in stored.items()}


def test_a_claim_is_not_given_back_over_a_newer_attempt(attempts):
    """What was recorded meanwhile stays, whether there was something before or not."""
    claims = attempts.claim([Attempt(A)], AT)
    attempts.record(A, LATER)

    attempts.give_back(claims)

    assert (2, LATER) == (attempts.read_all()[A].count, attempts.read_all()[A].last)


def test_a_deferral_keeps_the_attempts_and_ends_with_the_next_claim(attempts):
    """Deferred once, taken once; count and time of earlier attempts stay."""
    attempts.record(A, AT)

    attempts.defer(A)
    attempts.defer(B)
    deferred = attempts.read_all()
    claims = attempts.claim([deferred[A]], LATER)

    assert {A: (1, AT, True), B: (0, NEVER, True)} == {
        i: (row.count, row.last, row.deferred) for i, row in deferred.items()
    }
    assert [(2, False)] == [(claim.now.count, claim.now.deferred) for claim in claims]


def test_a_settled_request_stays_until_it_is_forgotten(attempts):
    """Settling keeps the attempt, so that a stale list cannot have it tried again at once."""
    attempts.record(A, AT)

    attempts.settle(attempts.read_all().values())
    settled = attempts.read_all()
    attempts.forget(settled.values())

    assert ([(1, True)], {}) == (
        [(row.count, row.settled) for row in settled.values()],
        attempts.read_all(),
    )


def test_what_changed_since_it_was_read_is_neither_settled_nor_forgotten(attempts):
    """A newer attempt outlives the tidying of an older sweep."""
    attempts.record(A, AT)
    read = list(attempts.read_all().values())
    attempts.record(A, LATER)

    attempts.settle(read)
    attempts.forget(read)

    assert [(2, False)] == [(row.count, row.settled) for row in attempts.read_all().values()]


def test_thousands_of_rows_are_read_page_by_page(azurite):
    """A table answers a thousand rows at most at once."""
    settings = load(
        {"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "thousands"}
    )
    attempts = Attempts(store(settings))
    attempts.claim(many(2300), AT)

    assert {one.request_id for one in many(2300)} == set(attempts.read_all())


def test_a_row_that_a_hand_has_spoilt_counts_as_never_tried(azurite):
    """Wrong types and missing columns neither end the sweep nor block the request."""
    settings = load({"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "spoilt"})
    table = store(settings)
    attempts = Attempts(table)
    attempts.read_all()  # creates the table
    table._client.create_entity(
        {"PartitionKey": "attempts", "RowKey": A, "Count": "many", "Last": "yesterday"}
    )

    read = attempts.read_all()[A]

    assert (0, NEVER, False, False) == (read.count, read.last, read.settled, read.deferred)
    assert [1] == [claim.now.count for claim in attempts.claim([read], AT)]


def test_a_recorder_delays_nobody_and_loses_nothing_it_can_write(caplog):
    """While the table is stuck, recording returns at once; what cannot be written is said."""
    stuck, written = threading.Event(), []

    class Stuck:
        def record(self, request_id, at):
            stuck.wait(10)
            if request_id == B:
                raise OSError
            written.append((request_id, at))

    recorder = Recorder(Stuck)
    for request_id in (A, B, A):
        recorder.record(request_id, AT)
    before = list(written)
    stuck.set()
    for _ in range(500):
        if len(written) == 2 and caplog.messages:
            break
        threading.Event().wait(0.01)

    assert ([], [(A, AT), (A, AT)]) == (before, written)
    assert [
        f'{{"event": "attempt not recorded", "requestId": "{B}", "error": "OSError"}}'
    ] == caplog.messages


def test_memory_is_used_with_a_warning_when_no_storage_is_configured(caplog):
    """Nobody finds out by losing the attempts."""
    assert isinstance(store(load({})), Memory)
    assert "attempts are kept in memory" in caplog.text
    assert "AzureWebJobsStorage" in caplog.text
