"""webhook.py: the id is taken from exactly where the pointer says, or not at all."""

import json
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprocess_http import webhook
from reprocess_http.one_request import Result
from reprocess_http.problems import (
    BodyTooLarge,
    Denied,
    Failing,
    NoRequestId,
    Refused,
    RequestNotFound,
    Throttled,
    TimedOut,
)
from reprocess_http.webhook import LARGEST_BODY, request_id

ID = "7999249e-249e-4999-9e24-99799e249979"
# RFC 6901, section 5: this document; each pointer below leads to the value there.
RFC = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"requestId": ID}, "/requestId"),
        ({"requestId": ID.upper()}, "/requestId"),
        ({"issue": {"fields": [{"n": 1e9}, {"id": ID, "ü": None}]}}, "/issue/fields/1/id"),
        ([1, [0, ID]], "/1/1"),
        (RFC | {"foo": [ID, "baz"]}, "/foo/0"),
        (RFC | {"": ID}, "/"),
        (RFC | {"a/b": ID}, "/a~1b"),
        (RFC | {"c%d": ID}, "/c%d"),
        (RFC | {"e^f": ID}, "/e^f"),
        (RFC | {"g|h": ID}, "/g|h"),
        (RFC | {"i\\j": ID}, "/i\\j"),
        (RFC | {'k"l': ID}, '/k"l'),
        (RFC | {" ": ID}, "/ "),
        (RFC | {"m~n": ID}, "/m~0n"),
        ({"~1": ID, "/": "x"}, "/~01"),
        ({"01": ID}, "/01"),
        ({"0": ID}, "/0"),
        ({"-": ID}, "/-"),
        ({"\u00e9": ID, "e\u0301": "x"}, "/\u00e9"),
    ],
    ids=str,
)
def test_the_pointer_leads_to_the_id(document, pointer):
    """RFC 6901, with its own examples, its escapes and array indices; names are as they are."""
    assert ID == request_id(json.dumps(document).encode(), pointer)
    assert ID == request_id(json.dumps(document, ensure_ascii=False).encode(), pointer)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_path_of_names_can_be_pointed_to(names):
    """Escaped as RFC 6901 says, every name is found again."""
    document = ID
    for name in reversed(names):
        document = {"other": 1, name: document}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)

    assert ID == request_id(json.dumps(document).encode(), pointer)


def test_a_byte_order_mark_is_passed_over():
    """Once, at the beginning: some senders write one."""
    mark, body = b"\xef\xbb\xbf", json.dumps({"requestId": ID}).encode()

    assert ID == request_id(mark + body, "/requestId")
    with pytest.raises(NoRequestId):
        request_id(mark + mark + body, "/requestId")


@pytest.mark.parametrize("number", ["1e999999", "-1e400", "0." + "1" * 200_000, "-0", "9" * 4300])
def test_numbers_are_passed_over(number):
    """Large exponents and long fractions are JSON, and none of our business."""
    assert ID == request_id(f'{{"x": {number}, "requestId": "{ID}"}}'.encode(), "/requestId")


def test_the_largest_body_is_read():
    """256 KiB, the id at the very end; one byte more is too large."""
    rest = f'", "requestId": "{ID}"}}'
    body = ('{"x": "' + "y" * (LARGEST_BODY - len(rest) - 7) + rest).encode()

    assert (256 * 1024, ID) == (len(body), request_id(body, "/requestId"))
    webhook.check_size(body)
    with pytest.raises(BodyTooLarge):
        webhook.check_size(body + b" ")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", "/requestId"),
        (b"requestId=" + ID.encode(), "/requestId"),
        (b"{'requestId': 1}", "/requestId"),
        (f'{{"requestId": "{ID}",}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "requestId": "{ID}"}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": {{"a": 1, "\\u0061": 1}}}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": NaN}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": -Infinity}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": 01}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}"}} {{}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}", "x": {"1" * 5000}}}'.encode(), "/requestId"),
        (json.dumps({"requestId": ID}).encode("utf-16"), "/requestId"),
        (json.dumps({"requestId": ID}).encode("utf-16-be"), "/requestId"),
        (b"\xff", "/requestId"),
        (b'"\xed\xa0\x80"', "/requestId"),
        (b'"\xc0\xaf"', "/requestId"),
        (b"[" * 200_000, "/0"),
        (b"[" * 100_000 + b"]" * 100_000, "/0"),
        (b'{"a":' * 50_000, "/a"),
        (b"{}", "/requestId"),
        (b"null", "/requestId"),
        (b'"x"', "/requestId"),
        (b'{"requestId": null}', "/requestId"),
        (b'{"requestId": 7}', "/requestId"),
        (b'{"requestId": true}', "/requestId"),
        (b'{"requestId": "REQ0010042"}', "/requestId"),
        (b'{"requestId": "\\ud800"}', "/requestId"),
        (f'{{"requestId": "{ID.replace("-", "")}"}}'.encode(), "/requestId"),
        (f'{{"requestId": "{{{ID}}}"}}'.encode(), "/requestId"),
        (f'{{"requestId": ["{ID}"]}}'.encode(), "/requestId"),
        (f'{{"requestId": {{"id": "{ID}"}}}}'.encode(), "/requestId"),
        (f'{{"requestId": " {ID}"}}'.encode(), "/requestId"),
        (f'{{"requestId": "{ID}\\n"}}'.encode(), "/requestId"),
        (f'{{"RequestId": "{ID}"}}'.encode(), "/requestId"),
        (f'"{ID}"'.encode(), "/0"),
        *(
            (f'["{ID}"]'.encode(), f"/{index}")
            for index in (
                "-",
                "1",
                "00",
                "+0",
                "-1",
                "0 ",
                "0\n",
                "",
                "\u0660",
                "length",
                "9" * 5000,
                "0/0",
            )
        ),
        (f'["{ID}"]'.encode(), "//0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_no_id_is_said_and_never_guessed(body, pointer):
    """Not JSON, ambiguous, too deep, missing, or no GUID; the body's own words are not repeated."""
    with pytest.raises(NoRequestId) as caught:
        request_id(body, pointer)

    assert ID not in caught.value.detail


@given(st.binary(), st.from_regex(r"(/([^/~]|~[01])*)+", fullmatch=True))
def test_no_body_breaks_it(body, pointer):
    """The only error is ours."""
    with pytest.raises(NoRequestId):
        request_id(body, pointer)


class Deliveries:
    """Reprocesses as told; keeps what was deferred."""

    def __init__(self, reprocess, defer=None):
        self.reprocess = reprocess
        self.attempts = self
        self.deferred = []
        if defer:
            self.defer = defer

    def defer(self, wanted, deadline):
        assert 0 < deadline.left() <= webhook.TABLE_SECONDS
        self.deferred.append(wanted)


def raises(error):
    def reprocess(*_):
        raise error

    return reprocess


DEFERRED = Result(
    "deferred",
    "Graph could not take it now; the next sweep will, without waiting for its cool-down.",
)


def test_what_graph_says_is_the_answer():
    """Within the time that it is given."""

    def reprocess(wanted, deadline, once_within):
        assert 0 < deadline.left() <= webhook.GRAPH_SECONDS
        assert timedelta(minutes=5) == once_within
        return Result("accepted", wanted)

    assert Result("accepted", ID) == webhook.deliver(Deliveries(reprocess), ID)


@pytest.mark.parametrize("kind", [Throttled, Failing, TimedOut])
def test_what_graph_cannot_take_now_is_deferred(kind):
    """Throttled, failing or silent: the sweep is told."""
    deliveries = Deliveries(raises(kind("x")))

    assert (DEFERRED, [ID]) == (webhook.deliver(deliveries, ID), deliveries.deferred)


@pytest.mark.parametrize("kind", [Refused, Denied, RequestNotFound])
def test_a_no_is_not_deferred(kind):
    """Sending it again would not help."""
    deliveries = Deliveries(raises(kind("x")))

    with pytest.raises(kind):
        webhook.deliver(deliveries, ID)
    assert [] == deliveries.deferred


def test_what_cannot_be_deferred_is_graphs_problem(caplog):
    """Then the sender should send again; the log has both."""
    problem = Throttled("x")

    with pytest.raises(Throttled) as caught:
        webhook.deliver(Deliveries(raises(problem), raises(OSError())), ID)

    assert problem is caught.value
    assert '"what": "defer", "count": 1, "error": "OSError"' in caplog.text


def test_what_hangs_is_not_waited_for(monkeypatch):
    """Whatever has no deadline of its own: the answer comes in time, and the sweep is told."""
    monkeypatch.setattr(webhook, "SLACK_SECONDS", 0.05)
    monkeypatch.setattr(webhook, "RECORD_SECONDS", 0.0)
    monkeypatch.setattr(webhook, "TABLE_SECONDS", 0.05)
    hangs = threading.Event()

    deliveries = Deliveries(lambda *_: hangs.wait(10))
    assert (DEFERRED, [ID]) == (webhook.deliver(deliveries, ID, 0), deliveries.deferred)
    with pytest.raises(TimedOut) as caught:
        webhook.deliver(Deliveries(lambda *_: hangs.wait(10), lambda *_: hangs.wait(10)), ID, 0)
    hangs.set()
    assert "is not known" in caught.value.detail


def test_a_webhook_is_answered_within_ten_seconds():
    """The sum of all that it may wait for."""
    waits = (webhook.GRAPH_SECONDS, webhook.SLACK_SECONDS, webhook.RECORD_SECONDS)

    assert sum(waits) + webhook.TABLE_SECONDS < 10
