"""webhook.py: the id is taken from exactly where the pointer says, or not at all."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import GraphFailed, GraphThrottled, GraphTimeout
from reprocess_http import webhook
from reprocess_http.recent import Recent
from reprocess_http.webhook import NoRequestId, request_id

ID = "7999249e-249e-4999-9e24-99799e249979"


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"requestId": ID}, "/requestId"),
        ({"requestId": ID.upper()}, "/requestId"),
        ({"issue": {"fields": {"customfield_1": ID}}}, "/issue/fields/customfield_1"),
        ([1, [0, ID]], "/1/1"),
        ({"a/b": {"m~n": ID}}, "/a~1b/m~0n"),
        ({"~1": ID}, "/~01"),
        ({"": ID}, "/"),
        ({"01": ID}, "/01"),
        ({"-": ID}, "/-"),
    ],
)
def test_the_pointer_leads_to_the_id(document, pointer):
    """RFC 6901, with its escapes and array indices."""
    assert ID == request_id(json.dumps(document).encode(), pointer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", "/requestId"),
        (b"requestId=" + ID.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "requestId": "{ID}"}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": {{"a": 1, "a": 1}}}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": NaN}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": -Infinity}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}"}} {{}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": {"1" * 5000}}}'.encode(), "/requestId"),
        (json.dumps({"requestId": ID}).encode("utf-16"), "/requestId"),
        (b"\xff", "/requestId"),
        (b"[" * 200_000, "/0"),
        (b'{"a":' * 50_000, "/a"),
        (b"{}", "/requestId"),
        (b"null", "/requestId"),
        (b'"x"', "/requestId"),
        (b'{"requestId": null}', "/requestId"),
        (b'{"requestId": 7}', "/requestId"),
        (b'{"requestId": true}', "/requestId"),
        (f'{{"requestId": ["{ID}"]}}'.encode(), "/requestId"),
        (f'{{"requestId": {{"id": "{ID}"}}}}'.encode(), "/requestId"),
        (f'{{"requestId": " {ID}"}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}\\n"}}'.encode(), "/requestId"),
        (f'{{"RequestId": "{ID}"}}'.encode(), "/requestId"),
        (f'["{ID}"]'.encode(), "/-"),
        (f'["{ID}"]'.encode(), "/1"),
        (f'["{ID}"]'.encode(), "/00"),
        (f'["{ID}"]'.encode(), "/+0"),
        (f'["{ID}"]'.encode(), "/-1"),
        (f'["{ID}"]'.encode(), "/\u0660"),
        (f'["{ID}"]'.encode(), "/" + "9" * 5000),
        (f'["{ID}"]'.encode(), "/0/0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_no_id_is_said_and_never_guessed(body, pointer):
    """Not JSON, ambiguous, too deep, missing, or no GUID; the body's own words are not repeated."""
    with pytest.raises(NoRequestId) as caught:
        request_id(body, pointer)

    assert ID not in str(caught.value)


@given(st.binary(), st.from_regex(r"(/([^/~]|~[01])*)+", fullmatch=True))
def test_no_body_breaks_it(body, pointer):
    """The only error is ours."""
    with pytest.raises(NoRequestId):
        request_id(body, pointer)


class Graph:
    """A Graph whose reprocess ends as told."""

    def __init__(self, ends):
        self.ends = ends

    def reprocess(self, request_id, deadline):
        return self.ends()


def fails_with(error):
    def ends():
        raise error

    return Graph(ends)


@pytest.mark.parametrize("error", [GraphThrottled("x"), GraphFailed("x"), GraphTimeout("x")])
def test_what_graph_cannot_take_now_is_deferred(error):
    """Throttled, failing or silent: the sweep is told."""
    deferred = []

    result = webhook.deliver(fails_with(error), None, deferred.append, Recent(), ID)

    assert ("deferred", [ID]) == (result.outcome, deferred)


def test_what_cannot_be_deferred_is_graphs_error():
    """Then the sender should send again."""
    error = GraphThrottled("x")

    def defer(_):
        raise OSError

    with pytest.raises(GraphThrottled) as caught:
        webhook.deliver(fails_with(error), None, defer, Recent(), ID)

    assert error is caught.value


def test_what_hangs_is_not_waited_for():
    """Whatever has no deadline of its own: the answer comes in time, and the sweep is told."""
    deferred = []
    started = time.monotonic()

    result = webhook.deliver(
        Graph(lambda: time.sleep(3)), None, deferred.append, Recent(), ID, seconds=-0.3
    )

    assert ("deferred", [ID]) == (result.outcome, deferred)
    assert time.monotonic() - started < 1
    assert webhook.GRAPH_SECONDS + webhook.SLACK + webhook.TABLE_SECONDS < 10


def test_recent_acceptances_are_forgotten(monkeypatch):
    """Those of long ago, and the oldest of too many."""
    monkeypatch.setattr("reprocess_http.recent.MOST", 2)
    recent, now = Recent(), datetime.now(UTC)
    for n, at in enumerate([now, now, now, datetime(2026, 1, 1, tzinfo=UTC)]):
        recent.add(str(n), at)

    assert [None, None, now, None] == [recent.get(str(n)) for n in range(4)]
