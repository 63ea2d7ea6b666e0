"""attempts.py over a store that notes what it was asked, and fails where it is told to.

Not for: what a table does (test_attempts.py).
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from azure.core.exceptions import AzureError, ServiceResponseError

import attempts as module
from attempts import (
    CONNECTIONS,
    LONGEST_REPORT,
    PATIENT_SECONDS,
    QUICK_SECONDS,
    Attempt,
    Attempts,
    Claim,
    Claims,
    Memory,
    is_same_try,
    store,
    table_client,
    undone,
)
from deadline import Deadline
from events import WARNING
from settings import load
from table import Change, Table

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
A, B, C = (f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
SWEEP, OTHER = "a-sweep", "another-sweep"


class Noting(Memory):
    """Keeps the deadlines that it was given; rows of `failing` cannot be written."""

    def __init__(self):
        super().__init__()
        self.deadlines, self.wanted, self.failing, self.unread = [], [], {}, False

    def rows(self, deadline):
        self.deadlines.append(deadline)
        return super().rows(deadline)

    def row(self, request_id, deadline):
        self.deadlines.append(deadline)
        if self.unread:
            raise ServiceResponseError("not to be read")
        return super().row(request_id, deadline)

    def write(self, changes, deadline, *is_wanted):
        self.deadlines.append(deadline)
        self.wanted += is_wanted
        written = super().write([c for c in changes if c.row.request_id not in self.failing])
        left = iter(written)
        return [self.failing.get(c.row.request_id) or next(left) for c in changes]

    def check(self, deadline):
        self.deadlines.append(deadline)

    def keep_report(self, at, text, deadline):
        self.deadlines.append(deadline)
        super().keep_report(at, text, deadline)

    def report(self, deadline):
        self.deadlines.append(deadline)
        return super().report(deadline)


@pytest.fixture
def noting():
    return Noting()


@pytest.fixture
def attempts(noting):
    return Attempts(noting, lambda: LATER)


CALLS = {
    "read_all": (PATIENT_SECONDS, lambda a, *end: a.read_all(*end)),
    "read": (QUICK_SECONDS, lambda a, *end: a.read(A, *end)),
    "claim": (PATIENT_SECONDS, lambda a, *end: a.claim([Attempt(A, etag="x")], AT, SWEEP, *end)),
    "give_back": (PATIENT_SECONDS, lambda a, *end: a.give_back([], *end)),
    "note": (PATIENT_SECONDS, lambda a, *end: a.note([], *end)),
    "settle": (PATIENT_SECONDS, lambda a, *end: a.settle([], *end)),
    "forget": (PATIENT_SECONDS, lambda a, *end: a.forget([], *end)),
    "record": (QUICK_SECONDS, lambda a, *end: a.record(A, AT, *end)),
    "defer": (QUICK_SECONDS, lambda a, *end: a.defer(A, *end)),
    "tell": (QUICK_SECONDS, lambda a, *end: a.tell(A, "expired", *end)),
    "check_writable": (PATIENT_SECONDS, lambda a, *end: a.check_writable(*end)),
    "note_sweep": (PATIENT_SECONDS, lambda a, *end: a.note_sweep({}, AT, *end)),
    "last_sweep": (QUICK_SECONDS, lambda a, *end: a.last_sweep(*end)),
}


@pytest.mark.parametrize(("seconds", "call"), CALLS.values(), ids=CALLS)
def test_every_wait_for_the_store_has_an_end(attempts, noting, monkeypatch, seconds, call):
    """The caller's own deadline; else a short one where somebody waits, a long one of a sweep."""
    monkeypatch.setattr(module, "Deadline", lambda seconds: seconds)
    call(attempts)
    without = set(noting.deadlines)
    noting.deadlines.clear()
    given = Deadline(9)
    call(attempts, given)

    assert ({seconds}, {given}) == (without, set(noting.deadlines))


def test_what_was_never_tried_is_none(attempts):
    """Not an error, and not an empty row."""
    assert attempts.read(A) is None


# -- what cannot be written --


def test_a_claim_that_cannot_be_written_leaves_none(attempts, noting):
    """The first error passes through, and what was claimed beside it is given back in time."""
    errors, given = [ServiceResponseError("first"), AzureError("second")], Deadline(9)
    noting.failing = dict(zip((B, C), errors, strict=True))

    with pytest.raises(ServiceResponseError) as caught:
        attempts.claim([Attempt(A), Attempt(B), Attempt(C)], AT, SWEEP, given)

    assert (errors[0], [given] * 2) == (caught.value, noting.deadlines)
    assert {} == attempts.read_all()


def test_a_store_that_does_not_answer_for_each_row_is_a_fault(attempts, noting, monkeypatch):
    """Else an answer would be taken for another row's."""
    claims = attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP).mine
    monkeypatch.setattr(noting, "write", lambda *_: [None])

    with pytest.raises(ValueError, match="zip"):
        attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP)
    with pytest.raises(ValueError, match="zip"):
        attempts.give_back(claims)


def test_a_sweep_is_not_another_one_to_itself(attempts):
    """Claiming twice on the same reading."""
    attempts.claim([Attempt(A)], AT, SWEEP)

    assert Claims([], [Attempt(A)], set()) == attempts.claim([Attempt(A)], LATER, SWEEP)


def test_a_claim_is_told_from_others_by_its_sweep_and_time(attempts, noting):
    """Whatever came to the row since; so a claim whose answer was lost is known."""
    attempts.claim([Attempt(A)], AT, SWEEP)
    wanted = Attempt(A, 1, AT, sweep=SWEEP)

    assert [is_same_try] == noting.wanted
    assert [True, False, False] == [
        is_same_try(stored, wanted)
        for stored in (
            replace(wanted, count=7, deferred=True, etag="2"),
            replace(wanted, sweep=OTHER),
            replace(wanted, last=LATER),
        )
    ]


def test_claims_stay_when_who_holds_the_others_cannot_be_read(attempts, noting):
    """It only decides what is said."""
    attempts.claim([Attempt(B)], AT, OTHER)
    noting.unread = True

    claims = attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP)

    assert Claims([Claim(Attempt(A), claims.mine[0].now)], [Attempt(B)], set()) == claims


@pytest.mark.parametrize("what", ["give back", "note", "settle", "forget"])
def test_tidying_tells_what_could_not_be_written(attempts, noting, caplog, what):
    """How many, in one warning with the first error's kind; the others are written."""
    claims = attempts.claim([Attempt(A), Attempt(B), Attempt(C)], AT, SWEEP).mine
    rows = [claim.now for claim in claims]
    noting.failing = {A: ServiceResponseError("first"), C: AzureError("second")}

    missing = {
        "give back": lambda: attempts.give_back(claims),
        "note": lambda: attempts.note((claim, "refused", "") for claim in claims),
        "settle": lambda: attempts.settle(rows),
        "forget": lambda: attempts.forget(rows),
    }[what]()

    line = {
        "event": "attempts not written",
        "what": what,
        "count": 2,
        "error": "ServiceResponseError",
    }
    assert 2 == missing
    assert [(WARNING, line)] == [(one.levelno, json.loads(one.message)) for one in caplog.records]
    assert [rows[0], rows[2]] == [one for one in attempts.read_all().values() if one in rows]


def test_an_attempt_over_http_that_cannot_be_written_is_an_error(attempts, noting):
    """The store's own."""
    noting.failing = {A: AzureError("no")}

    with pytest.raises(AzureError) as caught:
        attempts.record(A, AT)

    assert noting.failing[A] is caught.value


def test_times_are_kept_in_utc(attempts):
    """In whatever zone they are given."""
    attempts.record(A, AT.astimezone(timezone(timedelta(hours=2))))

    kept = attempts.read(A).last
    assert AT == kept
    assert kept.tzinfo is UTC  # not the machine's own zone, which may look like it


# -- giving back --

CLAIMED = Attempt(A, 1, AT, outcome="sent", sweep=SWEEP, etag="2")


@pytest.mark.parametrize(
    ("before", "came", "change"),
    [
        (Attempt(A), {}, Change(CLAIMED, remove=True)),
        (Attempt(A), {"deferred": True}, Change(Attempt(A, deferred=True, etag="2"))),
        (
            Attempt(A),
            {"told": frozenset({"expired"})},
            Change(Attempt(A, told=frozenset({"expired"}), etag="2")),
        ),
        (Attempt(A, etag="1"), {}, Change(Attempt(A, etag="2"))),
        (
            Attempt(A, 3, AT, deferred=True, told=frozenset({"expiring"}), etag="1"),
            {"told": frozenset({"expired"})},
            Change(
                Attempt(A, 3, AT, deferred=True, told=frozenset({"expiring", "expired"}), etag="2")
            ),
        ),
    ],
)
def test_a_claim_is_given_back_as_it_was_with_what_came_since(before, came, change):
    """A promise and a notice stay; a row that only the claim has made goes."""
    assert change == undone(Claim(before, replace(CLAIMED, **came)))


def test_a_claim_whose_row_was_changed_is_given_back_in_the_same_time(attempts, noting):
    """Read once and written again; one that cannot be read stays claimed, and is missing."""
    claims = attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP).mine
    attempts.defer(A)
    noting.deadlines.clear()
    given = Deadline(9)

    missing = attempts.give_back(claims[:1], given)
    waits = list(noting.deadlines)
    attempts.defer(B)
    noting.unread = True
    unread = attempts.give_back(claims[1:], given)
    noting.unread = False

    assert (0, [given] * 3, 1) == (missing, waits, unread)
    assert {A: 0, B: 1} == {one: row.count for one, row in attempts.read_all().items()}


# -- the report --


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "7", "null", '{"a": NaN}', '{"a": 1e999}'])
def test_a_report_that_is_no_object_is_none(attempts, noting, text):
    """A hand may have changed it."""
    noting.keep_report(AT, text, Deadline(9))

    assert attempts.last_sweep() is None


@pytest.mark.parametrize(("more", "kept"), [(0, {"z", "a"}), (1, {"z"})])
def test_a_report_loses_its_longest_value_only_when_it_is_too_long(attempts, more, kept):
    """Exactly as long as a column is fits; and it is not the last by name that goes."""
    report = {"z": 1, "a": ""}
    report["a"] = "x" * (LONGEST_REPORT - len(json.dumps(report)) + more)

    attempts.note_sweep(report, AT)

    assert (AT, {name: report[name] for name in kept}) == attempts.last_sweep()


# -- which table --


class Made:
    """Stands in for a class of Azure's: keeps how it was made."""

    def __init__(self, *args, **options):
        self.args, self.options = args, options

    @classmethod
    def from_connection_string(cls, *args, **options):
        return cls("connection string", *args, **options)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(module, "TableClient", Made)
    monkeypatch.setattr(module, "ManagedIdentityCredential", Made)


URI = "https://some.table.core.windows.net"
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=some;AccountKey=aGk=;EndpointSuffix=x.net"


def pools(client):
    """How many connections its session keeps open, over https and over http."""
    session = client.options.pop("session")
    return [session.get_adapter(f"{scheme}://x")._pool_maxsize for scheme in ("https", "http")]


@pytest.mark.parametrize("client_id", [None, B])
def test_a_table_by_its_address_is_opened_with_the_managed_identity(made, client_id):
    """With the client id that the storage's own setting has, and waits that end."""
    given = {"AzureWebJobsStorage__tableServiceUri": URI, "ATTEMPTS_TABLE": "mine"}
    client = table_client(replace(load(given), storage_client_id=client_id))

    assert [CONNECTIONS] * 2 == pools(client)
    credential = client.options.pop("credential")
    assert ((URI, "mine"), {}) == (client.args, client.options)
    assert ((), {"client_id": client_id, "connection_timeout": 5.0, "read_timeout": 5.0}) == (
        credential.args,
        credential.options,
    )


def test_a_table_by_its_connection_string_is_opened_with_that(made):
    """Its key is in it."""
    client = table_client(load({"AzureWebJobsStorage": ACCOUNT, "ATTEMPTS_TABLE": "mine"}))

    assert [CONNECTIONS] * 2 == pools(client)
    assert (("connection string", ACCOUNT, "mine"), {}) == (client.args, client.options)


def test_where_a_storage_account_is_configured_the_rows_are_in_its_table(made):
    """And nothing is kept in memory."""
    kept = store(load({"AzureWebJobsStorage": ACCOUNT}))

    assert isinstance(kept, Table)
    assert ("connection string", ACCOUNT, "reprocessAttempts") == kept._client.args


def test_without_a_storage_account_memory_is_used_with_a_warning(caplog):
    """It says what to set, and what for."""
    kept = store(load({}))

    [record] = caplog.records
    assert isinstance(kept, Memory)
    assert (
        WARNING,
        {
            "event": "attempts are kept in memory",
            "detail": "set AzureWebJobsStorage or AzureWebJobsStorage__tableServiceUri to keep "
            "them over restarts and to share them between instances",
        },
    ) == (record.levelno, json.loads(record.message))
