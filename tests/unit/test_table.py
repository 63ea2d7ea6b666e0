"""table.py: rows as they are written and read, merged and refused, in Azurite and in memory.

Not for: who may change a row when (test_attempt_store.py), which account it is and what its errors
mean (test_table_client.py).
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import AzureError, ServiceResponseError

from attempts import NEVER, AttemptRecord, Change, Entry, Outcome, blank
from deadline import Deadline
from session import time_left
from settings import load
from table import MAX_COUNT, InMemoryRows, Table
from table_client import new_client
from tests.support.proxy import Proxy

A, B, C = (f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
FULL = AttemptRecord(
    A,
    claim_id="5e000000-0000-4000-8000-00000000beef",
    claimed_at=AT,
    outcome=Outcome.REFUSED,
    accepted_at=AT + timedelta(seconds=1),
    count=2,
    tries=7,
    last_attempt_at=AT + timedelta(seconds=2),
    first_failed_at=AT - timedelta(days=1),
    deferred_at=AT + timedelta(seconds=3),
    completed=True,
    notified_reasons=frozenset({"expiring", "exhausted"}),
)
ENTRY = Entry(AT, "caller né\u2028", Outcome.REFUSED, 'No "way".')
END = Deadline(60, lambda: 0)
_tables = itertools.count()


def open_table(azurite, port=None, name=None, *, quick=False):
    """A table of its own, perhaps behind a proxy's port."""
    connection = azurite.connection_string
    if port:
        connection = connection.replace(f":{azurite.port}/", f":{port}/")
    name = name or f"rows{next(_tables)}"
    client = new_client(load({"AzureWebJobsStorage": connection, "ATTEMPTS_TABLE": name}))
    return Table(client, quick=quick)


@pytest.fixture(params=["memory", "table"])
def rows(request):
    """Both kinds of rows, which do the same."""
    if request.param == "memory":
        yield InMemoryRows()
        return
    table = open_table(request.getfixturevalue("azurite"))
    yield table
    table._client.close()


def write(rows, *changes):
    return rows.write(changes, END)


def put(rows, *records):
    return write(rows, *(Change(record) for record in records))


def many(count):
    return [blank(f"{n:08x}-0000-4000-8000-00000000cafe") for n in range(count)]


def lines(caplog):
    return [json.loads(one) for one in caplog.messages if one.startswith("{")]


# -- writing and reading --


@pytest.mark.parametrize("record", [FULL, blank(A)], ids=["full", "blank"])
def test_a_record_is_read_as_it_was_written(rows, record):
    """Every value, the times to the microsecond, and the version to write on next."""
    [written] = put(rows, record)

    assert replace(record, etag=written.etag) == written
    assert written == rows.read(A, END)
    assert [written] == list(rows.read_all(END))
    assert rows.read(B, END) is None


def test_an_update_replaces_all_but_the_history(rows):
    """A value that ended does not stay, and the history slots are not even read."""
    [first] = write(rows, Change(FULL, ENTRY))
    [second] = put(rows, replace(blank(A), etag=first.etag))

    read = rows.read(A, END)
    assert second == read == replace(blank(A), etag=second.etag)
    assert (ENTRY,) == read.history
    kept = [(ENTRY,)] if isinstance(rows, InMemoryRows) else [()]
    assert kept == [record.history for record in rows.read_all(END)]
    assert [(ENTRY,)] == [record.history for record in rows.read_all(END, history=True)]


def test_an_entry_goes_into_the_slot_of_its_attempt(rows):
    """`tries` modulo 5, or the one that is named; the empty entry empties it."""
    entries = [replace(ENTRY, words=str(tries)) for tries in range(7)]
    [record] = put(rows, blank(A))
    for tries, entry in enumerate(entries):
        [record] = write(rows, Change(replace(record, tries=tries), entry))
    full = rows.read(A, END).history
    empty, named = Entry(NEVER, "", Outcome.NONE), replace(ENTRY, words="named")
    [record] = write(rows, Change(record, empty))
    write(rows, Change(record, named, slot=4))

    assert tuple(entries[number] for number in (5, 6, 2, 3, 4)) == full
    assert (entries[5], entries[2], entries[3], named) == rows.read(A, END).history


def test_only_the_named_version_is_replaced_or_deleted(rows):
    """Nor is a row made anew that is there, nor one brought back that is gone."""
    [first] = put(rows, blank(A))
    [second] = put(rows, replace(first, count=1))
    none = [
        *put(rows, replace(first, count=9)),
        *write(rows, Change(first, delete=True)),
        *put(rows, blank(A)),
    ]
    [deleted] = write(rows, Change(second, delete=True))
    none += put(rows, second)

    assert [None] * 4 == none
    assert second == deleted
    assert [] == list(rows.read_all(END))


def test_hundreds_are_written_whoever_has_changed_some_of_them(rows):
    """More than a transaction takes, several of each changed: all others are written."""
    wanted = many(250)
    taken = {wanted[n].request_id for n in (0, 1, 57, 99, 120, 249)}
    put(rows, *(one for one in wanted if one.request_id in taken))

    written = put(rows, *(replace(one, count=1) for one in wanted))

    assert taken == {
        one.request_id for one, now in zip(wanted, written, strict=True) if now is None
    }
    assert 244 == sum(record.count for record in rows.read_all(END))


def test_that_rows_may_be_written_is_proven_without_a_trace(rows):
    """Twice, since diagnosis is asked twice."""
    rows.check_writable(END)
    rows.check_writable(END)

    assert [] == list(rows.read_all(END))


def test_the_last_report_is_kept_apart_from_the_records(rows):
    """The newest one only."""
    before = rows.report(END)
    rows.keep_report(AT, "{}", END)
    rows.keep_report(AT + timedelta(hours=1), '{"problem": "né\u2028"}', END)

    assert (None, (AT + timedelta(hours=1), '{"problem": "né\u2028"}'), []) == (
        before,
        rows.report(END),
        list(rows.read_all(END)),
    )


# -- the table as an operator sees it --


def test_the_columns_can_be_read_by_a_person(azurite):
    """Named after the record's values; a time that is none is an empty text."""
    table = open_table(azurite)
    write(table, Change(FULL, ENTRY))
    put(table, blank(B))

    # fmt: off
    assert dict(table._client.get_entity("attempts", A)) == {
        "PartitionKey": "attempts", "RowKey": A, "ClaimId": FULL.claim_id, "ClaimedAt": FULL.claimed_at,
        "Outcome": "refused", "AcceptedAt": FULL.accepted_at, "Count": 2, "Tries": 7,
        "LastAttemptAt": FULL.last_attempt_at, "FirstFailedAt": FULL.first_failed_at,
        "DeferredAt": FULL.deferred_at, "Completed": True, "Notified": "exhausted,expiring",
        "History2": '{"at": "2026-11-24T12:00:00.123456+00:00", "by": "caller n\\u00e9\\u2028", '
        '"outcome": "refused", "words": "No \\"way\\"."}',
    }
    # fmt: on
    assert "" == table._client.get_entity("attempts", B)["ClaimedAt"]


def spoil(table, key=A, **columns):
    table._client.upsert_entity({"PartitionKey": "attempts", "RowKey": key, **columns})


@pytest.mark.parametrize("column, value, detail", [
    ("Count", True, "Count is of type bool"),
    ("Count", -1, "Count is -1"),
    ("Tries", MAX_COUNT + 1, f"Tries is {MAX_COUNT + 1}"),
    ("ClaimedAt", "yesterday", "ClaimedAt is no time"),
    ("Outcome", "sent", "'sent' is not a valid Outcome"),
])  # fmt: skip
def test_a_row_whose_values_do_not_fit_counts_as_never_tried(
    azurite, caplog, column, value, detail
):
    """It is named in the log, harms no other row, and is replaced by its version."""
    table = open_table(azurite)
    put(table, FULL, blank(B))
    spoil(table, **{column: value})

    read = {record.request_id: record for record in table.read_all(END)}

    line = {"event": "attempt record ignored", "requestId": A, "detail": detail}
    assert [line] == lines(caplog)
    assert (blank(A), {A, B}) == (replace(read[A], etag=""), set(read))
    assert read[A] == table.read(A, END)
    assert put(table, replace(FULL, etag=read[A].etag)) == [table.read(A, END)]


@pytest.mark.parametrize("text", ["no JSON", "[1]", "{}", '{"at": 7}', 7])
def test_an_entry_that_does_not_fit_is_left_out(azurite, text):
    """The record and its other entries stand."""
    table = open_table(azurite)
    write(table, Change(FULL, ENTRY))
    spoil(table, History0=text)

    read = table.read(A, END)

    assert (FULL, (ENTRY,)) == (replace(read, etag=""), read.history)


def test_what_a_hand_has_written_is_left_alone(azurite):
    """A key that is no GUID would become part of an address of Graph's; a report without a text."""
    table = open_table(azurite)
    put(table, FULL)
    table.keep_report(AT, "{}", END)
    spoil(table, key="my notes")
    table._client.upsert_entity({"PartitionKey": "sweeps", "RowKey": "last", "At": "now"})

    assert [A] == [record.request_id for record in table.read_all(END)]
    assert table.report(END) is None


def test_a_missing_table_is_empty_and_the_first_write_creates_it(azurite, caplog):
    caplog.set_level("INFO")
    table = open_table(azurite, name="missing")
    read = (table.read_all(END), table.read(A, END), table.report(END))

    assert ([], None, None) == read
    assert put(table, blank(A)) == table.read_all(END)
    assert {"event": "table created", "table": "missing"} in lines(caplog)


# -- a broken table --

# azure-data-tables does not read on, so its connection is closed by the garbage collection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture
def broken(azurite):
    """A table behind a proxy that breaks connections, for sweeps and callers; and without it."""
    with Proxy(azurite.port) as proxy:
        beside = open_table(azurite, name=f"broken{next(_tables)}")
        beside.check_writable(END)
        sweeps, callers = (
            open_table(azurite, proxy.port, beside._client.table_name, quick=quick)
            for quick in (False, True)
        )
        yield SimpleNamespace(proxy=proxy, beside=beside, sweeps=sweeps, callers=callers)
        for table in (beside, sweeps, callers):
            table._client.close()


def test_a_table_that_another_instance_has_just_created_is_used(broken):
    broken.proxy.answer(404, {"x-ms-error-code": "TableNotFound"})

    [written] = put(broken.callers, many(1)[0])

    assert [written] == broken.beside.read_all(END)


@pytest.mark.parametrize("rows", [1, 3], ids=["one row", "a transaction"])
@pytest.mark.parametrize("breaks", [
    lambda proxy: proxy.drop(),
    lambda proxy: proxy.answer(503),
], ids=["dropped", "busy"])  # fmt: skip
def test_a_sweeps_write_that_did_not_arrive_is_sent_again(broken, breaks, rows):
    """By azure-core; nothing of it is written twice."""
    breaks(broken.proxy)

    written = put(broken.sweeps, *many(rows))

    assert (written, 2) == (broken.beside.read_all(END), len(broken.proxy.seen))


@pytest.mark.parametrize("rows", [1, 3], ids=["one row", "a transaction"])
def test_a_write_whose_first_answer_was_lost_is_answered_as_changed(broken, rows):
    """Sent again it meets its own rows; only reading them tells whose they are."""
    broken.proxy.drop("POST", after=True)

    assert [None] * rows == put(broken.sweeps, *many(rows))
    assert many(rows) == [replace(one, etag="") for one in broken.beside.read_all(END)]


@pytest.mark.parametrize("breaks", [
    lambda proxy: proxy.cut("$batch"),
    lambda proxy: proxy.answer(202, {"Content-Type": "multipart/mixed; boundary=b"}, b"--b--\r\n", "$batch"),
], ids=["cut", "nothing in it"])  # fmt: skip
def test_a_transaction_with_an_unreadable_answer_is_written_row_by_row(broken, breaks):
    """It may have been carried out: then each row says so."""
    breaks(broken.proxy)

    written = put(broken.sweeps, *many(3))

    stored = broken.beside.read_all(END)
    assert many(3) == [replace(one, etag="") for one in stored]
    assert written in (stored, [None] * 3)


def test_a_refusal_that_concerns_the_table_is_asked_for_once(broken):
    """A missing role: of each transaction one row is asked for."""
    broken.proxy.answer(403, times=9)

    errors = put(broken.sweeps, *many(120))

    assert 120 == len(errors)
    assert {403} == {error.status_code for error in errors}
    assert 4 == len(broken.proxy.seen)


def test_a_table_that_is_being_deleted_is_an_error_and_no_other_version(broken):
    """It takes a minute on Azure; Azurite is done at once."""
    broken.proxy.answer(409, {"x-ms-error-code": "TableBeingDeleted"}, times=3)

    errors = [*put(broken.sweeps, *many(3)), *put(broken.sweeps, blank(A))]

    assert [409] * 4 == [error.status_code for error in errors]


def test_a_callers_call_is_sent_once(broken):
    """Who waits over HTTP has no time for another try."""
    broken.proxy.drop(times=9)

    [error] = put(broken.callers, blank(A))
    with pytest.raises(AzureError):
        broken.callers.read(A, END)

    assert isinstance(error, ServiceResponseError)
    assert 2 == len(broken.proxy.seen)


def test_while_a_caller_waits_each_call_of_the_table_is_short():
    """A second; three for the first of a process, which needs a token and a connection."""
    seconds = []
    client = SimpleNamespace(get_entity=lambda *_, **__: seconds.append(time_left()))
    quick, patient = Table(client, quick=True), Table(client)

    for table, limit in ((quick, 60), (quick, 60), (quick, 0.4), (patient, 60)):
        table.read(A, Deadline(limit, lambda: 0))

    assert [3, 1, 0.4, 60] == [pytest.approx(one, abs=0.1) for one in seconds]


@pytest.mark.parametrize("breaks", [
    lambda proxy: proxy.silence(times=9),
    lambda proxy: proxy.answer(503, {"Retry-After": "60"}, times=9),
], ids=["silent", "told to wait"])  # fmt: skip
def test_a_call_of_the_table_ends_with_its_deadline(broken, breaks):
    """Whatever azure-core would still try or wait for; and none begins after it."""
    breaks(broken.proxy)
    started, deadline = time.monotonic(), Deadline(0.3)

    with pytest.raises(AzureError):
        broken.sweeps.read_all(deadline)
    asked = len(broken.proxy.seen)
    with pytest.raises(AzureError, match="No time was left"):
        broken.sweeps.read_all(deadline)

    assert 0.2 < time.monotonic() - started < 2
    assert asked == len(broken.proxy.seen)
