"""What operators set, what the table has kept, and what is made of names for people.

Not for: Graph's own answers (by_graph.py), or what callers send (by_callers.py).
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from datetime import UTC
from unittest.mock import patch

import requests
from azure.core.exceptions import AzureError
from azure.data.tables import TableClient, TableEntity

import attempts
import events
from attempts import Attempts, Memory
from deadline import Deadline
from graph import DetailedRequest, timestamp
from reprocess_http.sheet import ENCODING, sheet
from reprocess_http.strict_json import loads
from reprocess_timer.cards import card
from reprocess_timer.failure import item, judged, place
from reprocess_timer.notices import cloud_events
from reprocess_timer.plan import REASONS, Candidate, Noted, Planner, newest
from setting_kinds import TableService, Wrong
from settings import Settings, SettingsError, load
from table import MOST_COUNT, NEVER, Attempt, Table, attempt_of, entity_of
from tests.fuzz.targets import ANSWER, FIELD, any_text, fields, headers, join, target
from tests.scripted import ID, NOW, Transport

# -- settings --

MARK = "nobody-may-read-this"
SECRETS = ("WEBHOOK_SECRETS", "NOTIFY_URL", "AzureWebJobsStorage", "STATUS_LINK_SECRET")
DECLARED = Settings.declared()
STORAGE = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0;EndpointSuffix=x.net"
SOME = {
    "WEBHOOK_SECRETS": "whsec_" + "A" * 43 + "=, another-secret-of-24-bytes",
    "NOTIFY_URL": "https://hooks.example/a?sig=x",
    "AzureWebJobsStorage": STORAGE,
    "AzureWebJobsStorage__tableServiceUri": "https://acc.table.core.windows.net/",
    "AzureWebJobsStorage__blobServiceUri": "https://acc-secondary.z1.blob.storage.azure.net",
    "SWEEP_ACCESS_PACKAGES": f"{ID}, {ID.upper()}",
    "GRAPH_ENDPOINT": "http://[::1]:07071/",
    "WEBHOOK_REQUEST_ID_POINTER": "/a/~01",
}


@target(
    "setting_kinds.py",
    seeds=[
        *(join("x" * n, SOME.get(one.name) or one.default) for n, one in enumerate(DECLARED)),
        join("", "@Microsoft.KeyVault(x)"),
    ],
)
def one_setting(data: bytes) -> None:
    """A text is refused by Wrong, in few words, or is a value that reads as itself once more."""
    which, raw = fields(data, 2)
    kind, text = DECLARED[len(which) % len(DECLARED)].kind, any_text(raw).strip()
    try:
        value = kind.read(text)
    except Wrong as error:
        # 80 characters of it, written as escapes; of secrets the positions of the wrong ones.
        assert len(str(error)) < 900 + 10 * text.count(",")
        return
    again = TableService("table") if isinstance(kind, TableService) else kind
    if isinstance(value, str):
        assert again.read(value) == value
    elif isinstance(value, tuple):
        assert again.read(",".join(value)) == value
        assert len(set(value)) == len(value)


@target(
    "settings.py",
    "setting_kinds.py",
    seeds=[
        join("", "", *(f"{name}={text}" for name, text in SOME.items() if name not in SECRETS)),
        join("x", "https://hooks.example/", "SWEEP_COOLDOWN_MINUTES=50", "sweep_dry_run=1"),
        join("xx", "AccountName=a;AccountKey=", "GRAPH_CLOUD=usgov", "CALLER_ROLE=a b"),
        join("xxx", "", "azurewebjobsstorage__accountname=x", "WEBSITE_INSTANCE_ID=1"),
    ],
)
def all_settings(data: bytes) -> None:
    """Wrong settings are told, each once; nothing of a secret is, whatever stands beside it."""
    which, secret, *others = data.split(FIELD) if FIELD in data else (data, b"")
    found = (any_text(raw).partition("=") for raw in others)
    environ = {name[:40]: text for name, _, text in found if name and MARK not in name + text}
    environ[SECRETS[len(which) % len(SECRETS)]] = any_text(secret) + MARK
    try:
        settings = load(environ)
    except SettingsError as error:
        assert MARK not in str(error)
        assert len(set(error.problems)) == len(error.problems) > 0
    else:
        assert MARK not in repr(settings)


@target(
    "attempts.py",
    "setting_kinds.py",
    seeds=[
        STORAGE.encode(),
        b"TableEndpoint=https://a.table.core.windows.net/;SharedAccessSignature=sv=1&sig=x",
        b"UseDevelopmentStorage=true",
        b"AccountName=a;AccountKey=b;TableEndpoint=http:/127.0.0.1:10002/a",
    ],
)
def connection_string(data: bytes) -> None:
    """It leads to a client, or is a wrong setting of which nothing is told."""
    try:
        settings = load({"AzureWebJobsStorage": any_text(data)})
        assert bool(attempts.table_client(settings)) is bool(settings.storage_connection)
    except SettingsError as error:
        assert all(len(one) < 200 for one in error.problems)
        assert not any("=" in one for one in error.problems)


# -- the table --

CONNECTION = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0"
ROW = {
    "odata.etag": "W/\"datetime'2026-11-24T10%3A00%3A00Z'\"",
    "PartitionKey": "attempts",
    "RowKey": ID,
    "Count": 3,
    "Last": "2026-11-24T09:00:00.1234567Z",
    "Last@odata.type": "Edm.DateTime",
    "Failed": "2026-11-20T09:00:00Z",
    "Failed@odata.type": "Edm.DateTime",
    "Deferred": True,
    "Outcome": "refused",
    "Refusal": "Still retrying.",
    "Sweep": ID,
    "Told": "expired,exhausted",
}
JSON = "Content-Type: application/json"
DEFAULTS = load({})
WEEK = "10080"
SHORT = load(
    {
        "SWEEP_WINDOW_DAYS": "1",
        "SWEEP_COOLDOWN_MINUTES": WEEK,
        "SWEEP_COOLDOWN_MAX_MINUTES": WEEK,
    }
)
SERVICE = Transport([])
SESSION = requests.Session()
SESSION.trust_env = False
SESSION.mount("https://", SERVICE)
CLIENT = TableClient.from_connection_string(CONNECTION, "attempts", session=SESSION)


def stored(data: bytes) -> Table:
    """A table whose service gives these answers, the last one again and again."""
    answers = []
    for raw in data.split(ANSWER, 3):
        status, given, body = fields(raw, 3)
        code = int(status) if re.fullmatch(rb"[1-5][0-9]{2}", status) else 200
        answers.append((code, body, headers(given)))
    SERVICE.script, SERVICE.sent = [*answers, *[answers[-1]] * 40], []
    return Table(CLIENT, lambda _: None)


@target(
    "table.py",
    "attempts.py",
    "reprocess_timer/plan.py",
    "reprocess_timer/failure.py",
    seeds=[
        join("200", JSON, json.dumps(ROW)),
        join("200", JSON, json.dumps({"value": [ROW]})),
        join("200", JSON, json.dumps({"value": [{**ROW, "Last": "0001-01-01T00:00:00Z"}]})),
        join("200", JSON, json.dumps({**ROW, "Last": "9999-12-31T23:59:59.9999999Z"})),
        join("404", JSON, '{"odata.error": {"code": "TableNotFound"}}'),
        join("503", "Retry-After: " + "9" * 400, ""),
    ],
)
def table_answer(data: bytes) -> None:
    """Rows are within limits and kept as read, or the error is AzureError; each can be judged."""
    known = Attempts(stored(data), lambda: NOW)
    rows = []
    for read in (lambda: [known.read(ID)], lambda: known.read_all().values()):
        try:
            rows += [one for one in read() if one]
        except AzureError:
            continue
    for row in rows:
        assert 0 <= row.count <= MOST_COUNT
        assert NEVER <= row.last <= NOW
        assert row.last.tzinfo is UTC
        keeps(row)
        judges(row)


def keeps(row: Attempt) -> None:
    """Assert that a row is read as it was written."""
    made = TableEntity(entity_of(row))
    made._metadata = {"etag": row.etag}  # as azure-data-tables keeps it
    assert attempt_of(made) == row


COMPLETED = [timestamp(f"{year}-01-01T00:00:00Z") for year in ("0001", "2026", "9998")]


def judges(row: Attempt) -> None:
    """Assert that a request with this row has a place in the list and in the plan."""
    for completed in (None, *COMPLETED):
        request = DetailedRequest(row.request_id, "deliveryFailed", "userAdd", completed)
        for settings in (DEFAULTS, SHORT):
            failure = judged(request, row, settings, NOW)
            json.dumps([place(failure), item(failure, NOW)], allow_nan=False)
            planner = Planner({row.request_id: row}, settings, NOW)
            planner.add(request)
            assert sum(planner.plan().counts.values()) == 1


@target(
    "attempts.py",
    seeds=[
        b'{"sweepId": "x", "found": 3, "problem": null, "deliveredAfter": {"1": 2}}',
        b'{"found": NaN, "seconds": 1e999}',
        b'{"a": "\\ud800"}',
        b"[1]",
        b"[" * 10_500,
    ],
)
def sweep_row(data: bytes) -> None:
    """The last sweep's report is an object that an answer may have in it, or there is none."""
    store = Memory()
    store.keep_report(NOW, any_text(data), Deadline(1))
    found = Attempts(store).last_sweep()
    if found is None:
        return
    _, report = found
    assert isinstance(loads(json.dumps(report).encode()), dict)
    assert len(attempts.fitting(report)) <= attempts.LONGEST_REPORT


# -- names, for people --

SEPARATORS = re.compile(r"[,;|\t-\r]")


@target(
    "reprocess_http/sheet.py",
    seeds=[
        join("=1+1", "Ann", "a;=b", "a\t-1"),
        join("\ufeff@x", " \u00a0+x", "\uff1dx", '"=x"'),
        join("\u2212x", "'=x", "\r\n=x"),
        join(b"\xff=x", "\u200b=x"),
    ],
)
def csv_cells(data: bytes) -> None:
    """No part of a cell begins a formula, however it is split; what is left is the name itself."""
    texts = [any_text(raw) for raw in data.split(FIELD)]
    names = [str(n) for n in range(len(texts))]
    raw = sheet(names, [dict(zip(names, texts, strict=True))])
    head, cells = csv.reader(io.StringIO(raw.decode(ENCODING), newline=""))
    assert (head, len(cells)) == (names, len(texts))
    for text, cell in zip(texts, cells, strict=True):
        whole = text.encode(errors="replace").decode()
        assert cell.replace("'", "") == whole.replace("'", ""), "a name was changed"
        for part in SEPARATORS.split(cell):
            seen = "".join(one for one in part if one.isprintable()).lstrip(' "')
            assert unicodedata.normalize("NFKC", seen[:1])[:1] not in set("=+-@\u2212"), cell


@target(
    "reprocess_timer/cards.py",
    "reprocess_timer/notices.py",
    "reprocess_timer/failure.py",
    seeds=[
        join("Ann", "Sales", "2026-11-20T09:00:00Z", "userAdd"),
        join("[x](https://evil.example)", "<at>all</at>", "", "adminRemove"),
        join(b"\xff\xff", "\u202e" * 200, "2026-11-24T09:00:00.5+01:00", ""),
    ],
)
def notice(data: bytes) -> None:
    """Names are text runs and no link; card and events are JSON, and small enough to be taken."""
    who, what, completed, kind = (any_text(raw) for raw in fields(data, 4))
    request = DetailedRequest(
        ID, "deliveryFailed", kind, timestamp(completed),
        requestor_name=who[:500], access_package_name=what[:500],
    )  # fmt: skip
    data_of = item(judged(request, None, DEFAULTS, NOW), NOW) | {"portalUrl": "https://portal.x"}
    told = [(reason, data_of) for reason in REASONS] * 8
    for reason in REASONS:
        newest(Noted(reason, Candidate(request, Attempt(ID))))
    message = card(told)
    assert json.loads(json.dumps(message, allow_nan=False)) == message
    body = message["attachments"][0]["content"]
    assert [one["url"] for one in body["actions"]] == ["https://portal.x"]
    assert {one["type"] for one in body["body"]} == {"RichTextBlock"}
    assert {run["type"] for one in body["body"] for run in one["inlines"]} == {"TextRun"}
    assert not any("selectAction" in run for one in body["body"] for run in one["inlines"])
    _, batch = cloud_events(told, "urn:x", NOW.isoformat())
    assert json.loads(json.dumps(batch, allow_nan=False)) == batch
    assert data_of.get("hoursLeft", 0) >= 0


@target("events.py", seeds=[b"a name", b'\n{"event": "x"}', "\u2028".encode(), b"\xff"])
def log_line(data: bytes) -> None:
    """Whatever a text is, the line that has it is one line, and is read as it was written."""
    text = any_text(data)
    with patch.object(events.log, "log") as log:
        events.event(events.INFO, "reprocess", detail=text, reason=None)
    line = log.call_args.args[1]
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"event": "reprocess", "detail": text}
