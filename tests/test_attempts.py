"""attempts.py and table.py: claims are taken once, given back whole, and survive a broken table.

Every rule is proven in memory and in Table Storage (Azurite): over http with a key, and over https
with the managed identity's token. What a broken connection does is proven through a proxy.
"""

import itertools
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseError
from azure.data.tables import EdmType, EntityProperty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import attempts as module
import table
from attempts import NEVER, Attempt, Attempts, Claim, Claims, Memory, store, table_client
from deadline import Deadline
from emulator.identity import Identity
from settings import SettingsError, load
from table import Table
from tests.proxy import Proxy

AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
NOW = AT + timedelta(days=1)
FAILED = AT - timedelta(days=1)
A, B, C = (f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
SWEEP, OTHER = (f"5{n}000000-0000-4000-8000-00000000beef" for n in "ef")
TOLD = frozenset({"expiring", "exhausted"})
_tables = itertools.count()


def many(count):
    return [Attempt(f"{n:08x}-0000-4000-8000-00000000cafe") for n in range(count)]


def ids(rows):
    return [row.request_id for row in rows]


def plain(rows):
    """Return rows without their versions, which no test knows beforehand."""
    return [replace(row, etag="") for row in rows]


def events(caplog):
    return [json.loads(line) for line in caplog.messages if line.startswith("{")]


def key_settings(azurite, port=None, name=None):
    """Return settings with a key, perhaps through a proxy's port, with a table of its own."""
    connection = azurite.connection_string
    if port:
        connection = connection.replace(f":{azurite.port}/", f":{port}/")
    return load(
        {
            "AzureWebJobsStorage": connection,
            "ATTEMPTS_TABLE": name or f"attempts{next(_tables)}",
        }
    )


class Endpoint(BaseHTTPRequestHandler):
    """The emulated managed identity's endpoint, which azure-identity asks for its token."""

    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.server.asked.append(query)
        header = self.headers["X-IDENTITY-HEADER"]
        status, body = Identity(user_assigned=frozenset({B})).answer(
            query, header, [], 3600, datetime.now(UTC)
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def identity(monkeypatch):
    """Its calls so far, as a list of what was asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", Identity().header_secret)
        yield server.asked
        server.shutdown()
        thread.join()


def identity_settings(azurite, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite.certificate))
    uri = {"AzureWebJobsStorage__tableServiceUri": azurite.uri}
    return load(uri | {"ATTEMPTS_TABLE": f"attempts{next(_tables)}"})


@pytest.fixture(params=["memory", "table, key", "table, managed identity"])
def attempts(request, monkeypatch):
    if request.param == "memory":
        return Attempts(Memory(), lambda: NOW)
    if request.param == "table, key":
        wanted = key_settings(request.getfixturevalue("azurite"))
    else:
        request.getfixturevalue("identity")
        wanted = identity_settings(request.getfixturevalue("azurite_tls"), monkeypatch)
    return Attempts(store(wanted), lambda: NOW)


# -- claims --


def test_of_two_claims_on_the_same_reading_one_wins(attempts):
    """The second sweep is told whose the claim is, and gets those that are still free."""
    first = attempts.claim([Attempt(A)], AT, SWEEP)
    second = attempts.claim([Attempt(A), Attempt(B)], LATER, OTHER)

    sent = {"count": 1, "outcome": "sent"}
    assert Claims(
        [Claim(Attempt(A), Attempt(A, last=AT, sweep=SWEEP, etag=first.mine[0].now.etag, **sent))],
        [],
        set(),
    ) == (first)
    assert Claims(
        [
            Claim(
                Attempt(B),
                Attempt(B, last=LATER, sweep=OTHER, etag=second.mine[0].now.etag, **sent),
            )
        ],
        [Attempt(A)],
        {SWEEP},
    ) == (second)


def test_a_call_over_http_is_not_taken_for_another_sweep(attempts):
    """Whoever changed the row, only an id that was not there before makes it a sweep."""
    attempts.claim([Attempt(A), Attempt(B)], AT, OTHER)
    read = attempts.read_all()
    attempts.record(A, LATER)
    attempts.defer(B)

    for request_id in (A, B):
        assert Claims([], [read[request_id]], set()) == attempts.claim(
            [read[request_id]], LATER, SWEEP
        )


def test_what_is_read_is_what_was_claimed(attempts):
    """Everything, the time to the microsecond, and the version to claim on next."""
    claimed = [
        one.now for one in attempts.claim([Attempt(A, failed=FAILED), Attempt(B)], AT, SWEEP).mine
    ]

    assert {A: claimed[0], B: claimed[1]} == attempts.read_all()
    assert claimed == [attempts.read(A), attempts.read(B)]
    assert [2, 2] == [one.now.count for one in attempts.claim(claimed, LATER, OTHER).mine]


def test_a_claim_keeps_what_was_told_and_ends_what_was_before(attempts):
    """It is no longer settled, deferred or refused; failure and notices stay."""
    attempts._store.write(
        [
            module.Change(
                Attempt(A, 3, AT, FAILED, True, True, "refused", "No.", OTHER, TOLD),
            )
        ],
        Deadline(9),
    )

    claims = attempts.claim([attempts.read(A)], LATER, SWEEP)

    expected = Attempt(A, 4, LATER, FAILED, False, False, "sent", "", SWEEP, TOLD)
    assert [expected] == plain([claims.mine[0].now]) == plain([attempts.read(A)])


def test_hundreds_are_claimed_whoever_holds_some_of_them(attempts):
    """More than a transaction takes, several of each taken: all others are claimed."""
    wanted = many(250)
    taken = [wanted[n] for n in (0, 1, 57, 99, 120, 249)]
    attempts.claim(taken, AT, OTHER)

    claims = attempts.claim(wanted, LATER, SWEEP)

    assert [one for one in wanted if one not in taken] == [claim.before for claim in claims.mine]
    assert (taken, {OTHER}) == (claims.elsewhere, claims.other_sweeps)
    assert 250 == len(attempts.read_all())


@pytest.mark.parametrize("kind", ["memory", "table"])
def test_of_racing_claims_one_wins_each_request(kind, request):
    """Sixteen threads, one client, each ten of the same twenty requests: each is claimed once."""
    kept = Memory() if kind == "memory" else store(key_settings(request.getfixturevalue("azurite")))
    attempts, won, wanted = Attempts(kept), [], many(20)

    def race(number):
        part = [wanted[(3 * number + n) % 20] for n in range(10)]
        sweep = f"{number:08x}-0000-4000-8000-00000000beef"
        won.extend(attempts.claim(part, AT, sweep).mine)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(16)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert wanted == sorted((claim.before for claim in won), key=lambda one: one.request_id)
    assert {c.now.request_id: c.now for c in won} == attempts.read_all()


# -- what becomes of a claim --


def test_a_claim_given_back_leaves_what_was_before(attempts):
    """Nothing of the earlier attempt changes; what was not there goes."""
    attempts.claim([Attempt(A, failed=FAILED, told=TOLD)], AT, OTHER)
    attempts.defer(A)
    before = attempts.read_all()[A]

    missing = attempts.give_back(attempts.claim([before, Attempt(B)], LATER, SWEEP).mine)

    assert (0, [replace(before, etag="")]) == (missing, plain(attempts.read_all().values()))


def test_a_claim_is_given_back_though_a_caller_was_promised_something_meanwhile(attempts):
    """The promise stays; an attempt that was none does not count."""
    claims = attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP).mine
    attempts.defer(A)
    attempts.tell(B, "expiring")

    missing = attempts.give_back(claims)

    assert 0 == missing
    assert [Attempt(A, deferred=True), Attempt(B, told=frozenset({"expiring"}))] == plain(
        attempts.read_all().values()
    )


def test_a_claim_is_not_given_back_over_a_newer_attempt(attempts):
    """What was recorded meanwhile stays, and nothing is missing."""
    claims = attempts.claim([Attempt(A)], AT, SWEEP).mine
    attempts.record(A, LATER)

    missing = attempts.give_back(claims)

    assert 0 == missing
    assert [Attempt(A, 2, LATER, outcome="sent")] == plain(attempts.read_all().values())


def test_graphs_judgement_is_kept_and_a_denial_does_not_count(attempts):
    """A refused attempt counts; a denied one only cools down. The text is cut and printable."""
    attempts.claim([Attempt(B)], AT, OTHER)
    one, two = attempts.claim([Attempt(A), attempts.read(B)], LATER, SWEEP).mine

    missing = attempts.note(
        [(one, "refused", "BadRequest: \x00no\n\ud800!" + "x" * 999), (two, "denied", "Forbidden")]
    )

    assert 0 == missing
    assert {
        A: Attempt(
            A, 1, LATER, outcome="refused", refusal="BadRequest:  no  !" + "x" * 482, sweep=SWEEP
        ),
        B: Attempt(B, 1, LATER, outcome="denied", refusal="Forbidden", sweep=SWEEP),
    } == {row.request_id: row for row in plain(attempts.read_all().values())}


def test_a_judgement_is_not_kept_over_a_newer_attempt(attempts):
    """Somebody reprocessed by hand while the sweep was waiting for Graph."""
    [claim] = attempts.claim([Attempt(A)], AT, SWEEP).mine
    attempts.record(A, LATER)

    missing = attempts.note([(claim, "refused", "No.")])

    assert (0, [Attempt(A, 2, LATER, outcome="sent")]) == (missing, plain([attempts.read(A)]))


# -- calls over HTTP, and tidying --


def test_an_attempt_over_http_counts_and_keeps_what_was_told(attempts):
    """It has no sweep; the deferral that it fulfils ends."""
    attempts.claim([Attempt(A, failed=FAILED, told=TOLD)], AT, SWEEP)
    attempts.defer(A)

    attempts.record(A, LATER)
    attempts.record(B, LATER)

    assert {
        A: Attempt(A, 2, LATER, FAILED, outcome="sent", told=TOLD),
        B: Attempt(B, 1, LATER, outcome="sent"),
    } == {row.request_id: row for row in plain(attempts.read_all().values())}


def test_a_deferral_keeps_the_attempts_and_ends_with_the_next_claim(attempts):
    """Deferred once, taken once; count and time of earlier attempts stay."""
    attempts.record(A, AT)

    attempts.defer(A)
    attempts.defer(B)
    deferred = attempts.read_all()
    attempts.defer(A)  # again: nothing is written, so that it can still be claimed
    claims = attempts.claim([deferred[A]], LATER, SWEEP).mine

    assert {A: (1, AT, True), B: (0, NEVER, True)} == {
        i: (row.count, row.last, row.deferred) for i, row in deferred.items()
    }
    assert [(2, False)] == [(claim.now.count, claim.now.deferred) for claim in claims]


def test_each_reason_that_was_told_is_kept_once(attempts):
    """Whatever else changes, and also of a request that was never tried."""
    attempts.tell(A, "expiring")
    attempts.record(A, AT)
    attempts.tell(A, "exhausted")
    once = attempts.read(A)
    attempts.tell(A, "expiring")

    assert Attempt(A, 1, AT, outcome="sent", told=TOLD, etag=once.etag) == attempts.read(A)


def test_a_settled_request_stays_until_it_is_forgotten(attempts):
    """Settling keeps the attempt, so that a stale list cannot have it tried again at once."""
    attempts.record(A, AT)

    missing = attempts.settle(attempts.read_all().values())
    settled = attempts.read_all()
    missing += attempts.forget([*settled.values(), Attempt(B)])

    assert (0, [(1, True)], {}) == (
        missing,
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


def test_that_it_may_be_written_is_proven_without_a_trace(attempts):
    """Also where there is no table yet; and twice, since the diagnosis is asked for twice."""
    attempts.check_writable()
    attempts.check_writable()

    assert {} == attempts.read_all()


def test_the_last_sweeps_report_is_kept(attempts):
    """The newest one only, and apart from the attempts."""
    before = attempts.last_sweep()
    attempts.note_sweep({"accepted": 1}, AT)
    attempts.note_sweep({"accepted": 2, "seconds": {"list": 0.5}, "problem": "né\u2028"}, LATER)

    assert (
        None,
        (LATER, {"accepted": 2, "seconds": {"list": 0.5}, "problem": "né\u2028"}),
        {},
    ) == (
        before,
        attempts.last_sweep(),
        attempts.read_all(),
    )


def test_a_report_that_is_too_long_loses_its_longest_values(attempts):
    """A column holds 32,768 characters of UTF-16; what is left is still JSON."""
    report = {"accepted": 2, "problem": "\U0001f600" * 40000, "requestIds": [A] * 2000}

    attempts.note_sweep(report, AT)

    assert (AT, {"accepted": 2}) == attempts.last_sweep()


def test_a_time_in_the_future_counts_as_now(attempts):
    """It would cool down for ever otherwise; it can be claimed as any other."""
    ahead = NOW + timedelta(days=400)
    attempts.record(A, ahead)
    attempts.claim([Attempt(B, failed=ahead)], AT, OTHER)
    read = attempts.read_all()

    assert (NOW, NOW) == (read[A].last, read[B].failed)
    assert NOW == attempts.read(A).last
    assert [2] == [one.now.count for one in attempts.claim([read[A]], LATER, SWEEP).mine]
    assert LATER == attempts.read(A).last


# -- the table as an operator sees it --


def test_the_columns_can_be_read_by_a_person_and_empty_ones_vanish(azurite):
    """A write replaces the row: a value that ends does not stay from the write before."""
    kept = store(key_settings(azurite))
    attempts = Attempts(kept, lambda: NOW)
    [claim] = attempts.claim([Attempt(A, failed=FAILED, told=TOLD)], AT, SWEEP).mine
    attempts.note([(claim, "refused", "No.")])
    full = dict(kept._client.get_entity("attempts", A))
    attempts.give_back([Claim(Attempt(A, etag="*"), replace(attempts.read(A)))])
    empty = dict(kept._client.get_entity("attempts", A))

    keys = {"PartitionKey": "attempts", "RowKey": A}
    assert keys | {
        "Count": 1,
        "Last": AT,
        "Failed": FAILED,
        "Settled": False,
        "Deferred": False,
        "Outcome": "refused",
        "Refusal": "No.",
        "Sweep": SWEEP,
        "Told": "exhausted,expiring",
    } == (full)
    told = {"Told": "exhausted,expiring"}  # what somebody was told is never given back
    assert keys | {"Count": 0, "Settled": False, "Deferred": False} | told == empty


def spoil(client, request_id, **columns):
    client.upsert_entity({"PartitionKey": "attempts", "RowKey": request_id, **columns})


# What the service refuses to store (a time that is none) Azurite takes: worse cannot come.
TIMES = st.sampled_from(["yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"])
ODD = st.one_of(
    st.sampled_from([True, False, -1, 0, 3, 2**31 - 1, -(2**31), 0.5, float("nan"), b"\x00"]),
    st.text(max_size=9).filter(str.isprintable),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: EntityProperty(n, EdmType.INT64)),
    st.datetimes(datetime(1601, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    TIMES.map(lambda text: EntityProperty(text, EdmType.DATETIME)),
    st.sampled_from([A, "no guid"]).map(lambda text: EntityProperty(text, EdmType.GUID)),
)
NAMES = ["Count", "Last", "Failed", "Settled", "Deferred", "Outcome", "Refusal", "Sweep", "Told"]


@given(columns=st.dictionaries(st.sampled_from([*NAMES, "Remark"]), ODD))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_row_that_a_hand_has_spoilt_harms_only_itself(azurite, columns):
    """Whatever is in it: all rows are read, it is of no harm, and can be claimed and replaced."""
    kept = store(key_settings(azurite, name="spoilt"))
    attempts = Attempts(kept, lambda: NOW)
    attempts.check_writable()
    attempts.forget(attempts.read_all().values())
    attempts.record(B, AT)
    spoil(kept._client, A, **columns)
    spoil(kept._client, "no GUID")

    read = attempts.read_all()
    row, alone = read[A], attempts.read(A)
    claims = attempts.claim([row], NOW, SWEEP)

    assert ({A, B}, Attempt(B, 1, AT, outcome="sent")) == (set(read), replace(read[B], etag=""))
    assert 0 <= row.count <= 1_000_000
    assert row.last <= NOW
    assert row.failed is None or row.failed <= NOW
    assert row.outcome in {"", "sent", "refused", "denied"}
    assert row == alone
    assert [replace(claims.mine[0].now, etag="")] == plain([attempts.read(A)])
    assert set(kept._client.get_entity("attempts", A)) <= {"PartitionKey", "RowKey", *NAMES}
    assert kept._client.get_entity("attempts", "no GUID")


@pytest.mark.parametrize(
    "columns, expected",
    [
        ({}, Attempt(A)),
        ({"Count": "3", "Last": "yesterday", "Settled": 1, "Deferred": "true"}, Attempt(A)),
        ({"Count": -1, "Last": EntityProperty(2**40, EdmType.INT64)}, Attempt(A)),
        ({"Count": EntityProperty(2**40, EdmType.INT64), "Outcome": "lost"}, Attempt(A)),
        ({"Count": 2**31 - 1}, Attempt(A)),
        ({"Count": 2, "Told": "x" * 30000, "Sweep": "y" * 30000}, Attempt(A, 2)),
        ({"Count": 2.5, "Last": AT}, Attempt(A, last=AT)),
        ({"Count": 2, "Last": EntityProperty("yesterday", EdmType.DATETIME)}, Attempt(A)),
        (
            {"Count": 2, "Last": EntityProperty("9999-12-31T23:59:59Z", EdmType.DATETIME)},
            Attempt(A, 2, NOW),
        ),
        (
            {"Count": 2, "Told": ",expired,,", "Remark": "mine"},
            Attempt(A, 2, told=frozenset({"expired"})),
        ),
    ],
)
def test_what_a_spoilt_value_counts_as(azurite, columns, expected):
    """As missing: so a request with a spoilt count was never tried, and is due."""
    kept = store(key_settings(azurite))
    attempts = Attempts(kept, lambda: NOW)
    attempts.check_writable()
    spoil(kept._client, A, **columns)

    assert [expected] == plain(attempts.read_all().values()) == plain([attempts.read(A)])


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[1]", 7, '{"found": NaN}', '{"seconds": 1e999}', "[" * 20_000]
)
def test_a_spoilt_report_is_none(azurite, text):
    """The list is answered without it."""
    kept = store(key_settings(azurite))
    attempts = Attempts(kept)
    attempts.note_sweep({}, AT)
    kept._client.upsert_entity(
        {"PartitionKey": "sweeps", "RowKey": "last", "At": AT, "Report": text}
    )

    assert attempts.last_sweep() is None


@pytest.mark.parametrize(
    "connection",
    [
        "TableEndpoint=https:/acc.example;SharedAccessSignature=hunter2",
        "TableSecondaryEndpoint=https://acc.example;AccountName=acc;AccountKey=hunter2",
        "DefaultEndpointsProtocol=https[];EndpointSuffix=x;AccountName=acc;AccountKey=hunter2",
    ],
)
def test_a_connection_string_without_an_address_is_a_wrong_setting(connection):
    """By its name, and without anything of what it says."""
    settings = load({"AzureWebJobsStorage": connection})

    with pytest.raises(SettingsError) as caught:
        store(settings)

    assert ["AzureWebJobsStorage names no table service that has an address"] == (
        caught.value.problems
    )
    assert caught.value.__suppress_context__


# -- a broken table --


class Time:
    """A clock that only sleeping moves; what shall happen while it sleeps can be set."""

    def __init__(self):
        self.now, self.slept, self.meanwhile = 0.0, [], []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def deadline(self, seconds=60.0):
        return Deadline(seconds, self.clock)


@pytest.fixture
def broken(azurite):
    """Attempts behind a proxy that breaks connections, and the same table without it."""
    with Proxy(azurite.port) as proxy:
        time = Time()
        wanted = key_settings(azurite, proxy.port)
        beside = Attempts(store(key_settings(azurite, name=wanted.attempts_table)), lambda: NOW)
        beside.check_writable()
        attempts = Attempts(Table(table_client(wanted), time.sleep), lambda: NOW)
        yield SimpleNamespace(proxy=proxy, time=time, attempts=attempts, beside=beside)
        attempts._store._client.close()


def test_azure_data_tables_itself_does_not_repeat_a_transaction(broken):
    """Why table.py does: one broken connection, one request, one error."""
    broken.proxy.drop("$batch")

    with pytest.raises(ServiceResponseError):
        broken.attempts._store._client.submit_transaction(
            [("create", {"PartitionKey": "attempts", "RowKey": A})]
        )

    assert 1 == len(broken.proxy.seen)


# azure-data-tables does not read on, so its connection is closed by the garbage collection.
UNREAD = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
BREAKS = {
    "dropped": lambda proxy: proxy.drop("$batch"),
    "lost": lambda proxy: proxy.drop("$batch", after=True),
    "lost twice": lambda proxy: proxy.drop("$batch", after=True, times=2),
    "cut": lambda proxy: proxy.cut("$batch"),
    "silent": lambda proxy: proxy.silence("$batch"),
    "silent after": lambda proxy: proxy.silence("$batch", after=True),
    "busy": lambda proxy: proxy.answer(503, text="$batch"),
    "throttled": lambda proxy: proxy.answer(429, {"Retry-After": "0"}, text="$batch"),
    "failed after": lambda proxy: proxy.answer(500, body=b"<p>", text="$batch", after=True),
    "no answer to this": lambda proxy: proxy.answer(202, body=b"<p>", text="$batch", after=True),
    "nothing in it": lambda proxy: proxy.answer(
        202, {"Content-Type": "multipart/mixed; boundary=b"}, b"--b--\r\n", "$batch", after=True
    ),
}


@UNREAD
@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_one_broken_connection_does_not_end_a_claim(broken, breaks, monkeypatch):
    """Whether it was carried out or not: all are ours, and nobody is taken for another sweep."""
    monkeypatch.setattr(table, "SILENCE", 0.5)
    broken.beside.record(A, AT)
    before = broken.beside.read(A)
    breaks(broken.proxy)

    claims = broken.attempts.claim([before, Attempt(B)], LATER, SWEEP, broken.time.deadline())

    stored = broken.beside.read_all()
    assert Claims([Claim(before, stored[A]), Claim(Attempt(B), stored[B])], [], set()) == claims
    assert [(2, SWEEP), (1, SWEEP)] == [(row.count, row.sweep) for row in stored.values()]


@UNREAD
@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_one_broken_connection_does_not_end_a_give_back(broken, breaks, monkeypatch):
    """What is restored or removed already is given back."""
    monkeypatch.setattr(table, "SILENCE", 0.5)
    broken.beside.record(A, AT)
    before = broken.beside.read(A)
    claims = broken.attempts.claim([before, Attempt(B)], LATER, SWEEP).mine
    breaks(broken.proxy)

    missing = broken.attempts.give_back(claims, broken.time.deadline())

    assert (0, plain([before])) == (missing, plain(broken.beside.read_all().values()))


def test_a_lost_answer_costs_one_read_a_row_and_a_dropped_request_none(broken):
    """What it costs to tell them apart."""
    broken.proxy.drop("$batch")
    broken.attempts.claim(many(20), AT, SWEEP)
    dropped = [name.split()[0] for name in broken.proxy.seen]
    broken.proxy.seen.clear()
    broken.proxy.drop("$batch", after=True)
    broken.attempts.claim(list(broken.beside.read_all().values()), LATER, SWEEP)
    lost = [name.split()[0] for name in broken.proxy.seen]
    broken.proxy.seen.clear()
    broken.proxy.drop("$batch", after=True)
    broken.attempts.forget(list(broken.beside.read_all().values()))
    removed = [name.split()[0] for name in broken.proxy.seen]

    once, read = ["POST"] * 2, ["GET"] * 20
    assert (once, once + read, once + read) == (dropped, lost, removed)


def test_a_claim_with_a_lost_answer_is_ours_although_it_was_deferred_since(broken):
    """A caller was promised the next sweep in that very moment; that stays."""
    broken.proxy.drop("$batch", after=True)
    broken.time.meanwhile.append(lambda: broken.beside.defer(A))

    claims = broken.attempts.claim([Attempt(A)], AT, SWEEP)

    assert [broken.beside.read(A)] == [claim.now for claim in claims.mine]
    assert claims.mine[0].now.deferred


def test_a_lost_refusal_is_still_a_refusal(broken):
    """Another sweep holds one of three: the others are ours, whatever answer was lost."""
    broken.beside.claim([Attempt(B)], AT, OTHER)
    broken.proxy.drop("$batch", after=True)

    claims = broken.attempts.claim([Attempt(A), Attempt(B), Attempt(C)], LATER, SWEEP)

    assert ([A, C], [Attempt(B)], {OTHER}) == (
        ids(claim.now for claim in claims.mine),
        claims.elsewhere,
        claims.other_sweeps,
    )


def test_a_request_that_arrives_late_claims_nothing_twice(broken):
    """The first request was taken for lost, and another sweep was quicker than the second."""
    broken.proxy.drop("$batch")
    broken.time.meanwhile.append(lambda: broken.beside.claim([Attempt(A)], AT, OTHER))

    claims = broken.attempts.claim([Attempt(A)], AT, SWEEP)

    assert Claims([], [Attempt(A)], {OTHER}) == claims


def test_who_changed_a_hundred_rows_is_found_by_one_read(broken):
    """It only decides what is said; so it must not cost more."""
    broken.beside.claim(many(100), AT, OTHER)

    claims = broken.attempts.claim(many(100), AT, SWEEP)

    reads = [name for name in broken.proxy.seen if name.startswith("GET")]
    assert ([], many(100), {OTHER}, 1) == (
        claims.mine,
        claims.elsewhere,
        claims.other_sweeps,
        len(reads),
    )


def test_claims_stay_ours_when_who_holds_the_others_cannot_be_read(broken):
    """Nothing is said then."""
    broken.beside.claim([Attempt(B)], AT, OTHER)
    broken.proxy.drop("GET", times=9)

    claims = broken.attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP)

    assert ([A], [Attempt(B)], set()) == (
        ids(claim.now for claim in claims.mine),
        claims.elsewhere,
        claims.other_sweeps,
    )


def test_a_table_that_stays_away_is_asked_four_times(broken):
    """Then the error passes through."""
    broken.proxy.drop("$batch", times=99)

    with pytest.raises(ServiceResponseError):
        broken.attempts.claim([Attempt(A)], AT, SWEEP, broken.time.deadline())

    assert ([0.1, 0.5, 2.0], 4) == (broken.time.slept, len(broken.proxy.seen))


def test_no_try_is_made_after_the_deadline(broken):
    """Nor is one waited for that would be; and without any time nothing is asked at all."""
    broken.proxy.drop("$batch", times=99)

    with pytest.raises(ServiceResponseError):
        broken.attempts.claim([Attempt(A)], AT, SWEEP, broken.time.deadline(1.0))
    asked = len(broken.proxy.seen)
    with pytest.raises(AzureError, match="no time left"):
        broken.attempts.claim([Attempt(A)], AT, SWEEP, broken.time.deadline(0))

    assert ([0.1, 0.5], 3, 3) == (broken.time.slept, asked, len(broken.proxy.seen))


def test_a_told_wait_is_kept_and_one_beyond_the_deadline_is_not_begun(broken):
    """Retry-After is never shortened."""
    broken.proxy.answer(503, {"Retry-After": "7"}, text="$batch", times=2)

    claims = broken.attempts.claim([Attempt(A)], AT, SWEEP, broken.time.deadline(20)).mine
    broken.proxy.answer(503, {"Retry-After": "7"}, text="$batch")
    with pytest.raises(HttpResponseError):
        broken.attempts.claim([Attempt(B)], AT, SWEEP, broken.time.deadline(7))

    assert ([7.0, 7.0], [A]) == (broken.time.slept, ids(claim.now for claim in claims))


def test_what_is_not_allowed_is_not_tried_again(broken):
    """A missing role does not come by asking."""
    broken.proxy.answer(403, text="$batch")

    with pytest.raises(HttpResponseError):
        broken.attempts.claim([Attempt(A)], AT, SWEEP)

    assert ([], 1) == (broken.time.slept, len(broken.proxy.seen))


def test_a_table_that_is_being_deleted_is_an_error_and_nobody_elses_claim(broken):
    """It takes a minute on Azure; Azurite is done at once."""
    error = {"code": "TableBeingDeleted", "message": {"lang": "en-US", "value": "0:No."}}
    lines = [
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c",
        "Content-Type: application/http\r\n\r\nHTTP/1.1 409 Conflict",
        "Content-Type: application/json\r\n\r\n" + json.dumps({"odata.error": error}),
        "--c--\r\n--b--\r\n",
    ]
    multipart = {"Content-Type": "multipart/mixed; boundary=b"}
    broken.proxy.answer(202, multipart, "\r\n".join(lines).encode(), "$batch")

    with pytest.raises(HttpResponseError, match="TableBeingDeleted"):
        broken.attempts.claim([Attempt(A)], AT, SWEEP)


def test_refused_connections_are_tried_again(broken):
    """The service is moved to another machine, say."""
    broken.proxy.refuse()
    broken.time.meanwhile += [lambda: None, broken.proxy.admit]

    assert [A] == ids(c.now for c in broken.attempts.claim([Attempt(A)], AT, SWEEP).mine)


def test_what_was_claimed_before_a_failed_transaction_is_given_back(broken):
    """The caller gets an error, so nothing of it will be sent."""
    broken.proxy.answer(403, text="$batch", skip=1)

    with pytest.raises(HttpResponseError):
        broken.attempts.claim(many(110), AT, SWEEP)

    assert {} == broken.beside.read_all()


@pytest.mark.parametrize("how", ["give back", "note", "settle", "forget"])
def test_tidying_goes_on_after_a_failed_transaction(broken, how, caplog):
    """The second of three fails for good: the other two are carried out, one line tells."""
    claims = broken.attempts.claim(many(210), AT, SWEEP).mine
    rows = [claim.now for claim in claims]
    broken.proxy.answer(403, text="$batch", skip=1)

    missing = {
        "give back": lambda: broken.attempts.give_back(claims),
        "note": lambda: broken.attempts.note((claim, "refused", "") for claim in claims),
        "settle": lambda: broken.attempts.settle(rows),
        "forget": lambda: broken.attempts.forget(rows),
    }[how]()

    left = broken.beside.read_all()
    untouched = [row for row in rows if left.get(row.request_id) == row]
    line = {
        "event": "attempts not written",
        "what": how,
        "count": 100,
        "error": "HttpResponseError",
    }
    assert (100, rows[100:200], [line]) == (missing, untouched, events(caplog))


def test_a_judgement_whose_answer_was_lost_is_kept(broken):
    """Read back, it stands there as it was wanted."""
    claims = broken.attempts.claim([Attempt(A), Attempt(B)], AT, SWEEP).mine
    broken.proxy.drop("$batch", after=True)

    missing = broken.attempts.note([(claim, "denied", "No.") for claim in claims])

    assert (0, [(0, AT, "denied")] * 2) == (
        missing,
        [(row.count, row.last, row.outcome) for row in broken.beside.read_all().values()],
    )


def test_an_attempt_over_http_whose_answer_was_lost_counts_once(broken):
    """And one whose row changes in between is written on top of that."""
    broken.proxy.drop("$batch", after=True)
    broken.attempts.record(A, AT)
    broken.proxy.drop("$batch")
    broken.time.meanwhile.append(lambda: broken.beside.record(B, AT))
    broken.attempts.record(B, LATER)

    assert {A: (1, AT), B: (2, LATER)} == {
        row.request_id: (row.count, row.last) for row in broken.beside.read_all().values()
    }


def test_a_caller_over_http_does_not_wait_for_a_silent_table(broken, monkeypatch):
    """Reading and recording have a short deadline of their own."""
    monkeypatch.setattr(module, "QUICK_SECONDS", 0.3)
    broken.proxy.silence(times=99)

    for ask in (
        lambda: broken.attempts.read(A),
        lambda: broken.attempts.record(A, AT),
        lambda: broken.attempts.defer(A),
        broken.attempts.last_sweep,
    ):
        started = datetime.now(UTC)
        with pytest.raises(AzureError):
            ask()
        assert timedelta(seconds=3) > datetime.now(UTC) - started


def test_more_than_a_page_of_rows_is_read_over_broken_connections(broken):
    """A table answers a thousand rows at most at once; what was read is not read again."""
    broken.beside.claim(many(1100), AT, SWEEP)
    broken.proxy.drop("GET", skip=1)
    broken.proxy.cut("GET", skip=1)

    read = broken.attempts.read_all()

    assert (many(1100), 4) == (
        [Attempt(row.request_id) for row in read.values()],
        len(broken.proxy.seen),
    )


def test_a_missing_table_is_created_by_the_first_write(azurite, caplog):
    """Reading finds nothing; of several writers at once nobody fails."""
    caplog.set_level("INFO")
    attempts = Attempts(store(key_settings(azurite, name="missing")))
    read, errors = (attempts.read_all(), attempts.read(A), attempts.last_sweep()), []

    def claim(row):
        try:
            attempts.claim([row], AT, SWEEP)
        except AzureError as error:
            errors.append(error)

    racers = [threading.Thread(target=claim, args=(row,)) for row in many(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert (({}, None, None), []) == (read, errors)
    assert set(ids(many(8))) == set(attempts.read_all())
    assert {"event": "table created", "table": "missing"} in events(caplog)


# -- which store --


@pytest.mark.parametrize("client_id", [None, B])
def test_the_identity_is_the_storages_own(azurite, azurite_tls, identity, monkeypatch, client_id):
    """Without a client id it is the system-assigned one, whatever AZURE_CLIENT_ID says.

    A connection string beside it is not used.
    """
    monkeypatch.setenv("AZURE_CLIENT_ID", A)
    wanted = identity_settings(azurite_tls, monkeypatch)
    more = {"storage_connection": azurite.connection_string, "storage_client_id": client_id}
    attempts = Attempts(store(replace(wanted, azure_client_id=A, **more)))

    attempts.check_writable()
    attempts.record(A, AT)

    assert [client_id] == [query.get("client_id") for query in identity]
    assert "https://storage.azure.com" == identity[0]["resource"]
