"""graph/outcome.py: which error a status or an exception is, what it says, and what headers say."""

from __future__ import annotations

import ssl
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ReadTimeoutError

import graph
from graph.outcome import (
    REMEDIES,
    WRITE_ROLE,
    Answer,
    error_from,
    error_of,
    http_date,
    retry_after,
)
from tests.support.scripted_transport import NOW

FAILED, DENIED, TIMEOUT = graph.GraphFailed, graph.GraphDenied, graph.GraphTimeout
THROTTLED, REFUSED = graph.GraphThrottled, graph.GraphRefused
CODED = {"error": {"code": "C", "message": "M"}}


def date(at):
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def error(status, body=None, roles=(), scoped=False, **headers):
    return error_of(Answer(status, headers, body, NOW, "c-1"), NOW, roles, scoped=scoped)


@pytest.mark.parametrize(("status", "kind", "wait", "unknown"), [
    (300, FAILED, None, False),
    (399, FAILED, None, False),
    (400, REFUSED, None, False),
    (401, DENIED, None, False),
    (403, DENIED, None, False),
    (404, graph.RequestNotFound, None, False),
    (429, THROTTLED, 7.0, False),
    (499, REFUSED, None, False),
    (500, FAILED, 7.0, True),
    (501, FAILED, None, True),
    (502, FAILED, 7.0, True),
    (503, THROTTLED, 7.0, True),
    (504, FAILED, 7.0, True),
])  # fmt: skip
def test_what_a_status_means(status, kind, wait, unknown):
    """And whether Graph's wait counts, and whether it may have carried out the call."""
    found = error(status, CODED, **{"retry-after": "7", "request-id": "g-1"})
    redirected = "Graph answered with a redirect, which was not followed"

    assert (kind, {
        "detail": redirected if status < 400 else "M", "status": status, "code": "C",
        "retry_after": wait, "outcome_unknown": unknown, "graph_request_id": "g-1",
        "client_request_id": "c-1",
    }) == (type(found), asdict(found))  # fmt: skip


def test_a_404_without_a_code_is_the_path_and_not_the_request():
    """Graph's words are kept (https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/2505)."""
    words = "No HTTP resource was found that matches the request URI 'https://x.example/api'."
    found = error(404, {"error": {"code": "", "message": words}})

    assert found.detail.startswith(f"{words} Graph does not know the path: ")
    assert (FAILED, False) == (type(found), found.outcome_unknown)


@pytest.mark.parametrize(("body", "code", "detail"), [
    ({"error": {"code": "C" * 101, "message": "M" * 501}}, "C" * 100, "M" * 500),
    ({"error": {"code": "UnknownError", "message": ""}}, "UnknownError", "Graph answered HTTP 400"),
    ({"error": "no object"}, "", "Graph answered HTTP 400"),
    ("no object", "", "Graph answered HTTP 400"),
])  # fmt: skip
def test_graphs_words_are_kept_as_far_as_a_log_line_has_room(body, code, detail):
    found = error(400, body)

    assert (code, detail) == (found.code, found.detail)


def broken(cause):
    """What requests raises, with urllib3's error in it."""
    return requests.ConnectionError(MaxRetryError(None, "/", cause))


CERTIFICATE = broken(NewConnectionError(None, "[SSL: CERTIFICATE_VERIFY_FAILED]"))
STREAMED = requests.ConnectionError(ReadTimeoutError(None, "/", "streamed"))
NOT_REACHED, SILENT = "Graph could not be reached", "Graph gave no answer in time"
NOT_VERIFIED = "Graph's certificate could not be verified"
BROKE = "the connection to Graph broke before its answer came"


@pytest.mark.parametrize(("raised", "kind", "detail", "unknown"), [
    (broken(NewConnectionError(None, "refused")), FAILED, NOT_REACHED, False),
    (requests.ConnectTimeout(), TIMEOUT, SILENT, False),
    (requests.ReadTimeout(), TIMEOUT, SILENT, True),
    (STREAMED, TIMEOUT, SILENT, True),
    (CERTIFICATE, FAILED, NOT_VERIFIED, False),
    (broken(ssl.SSLEOFError("EOF")), FAILED, BROKE, True),
    (requests.ConnectionError("reset"), FAILED, BROKE, True),
], ids=str)  # fmt: skip
def test_what_a_broken_connection_means(raised, kind, detail, unknown):
    """Only what cannot have left was never sent: TLS may break after the call went through."""
    found = error_from(raised, "c-1")

    assert (kind, detail, unknown) == (type(found), found.detail, found.outcome_unknown)
    assert (None, "c-1") == (found.status, found.client_request_id)


THEIRS = NOW - timedelta(hours=2)  # Graph's clock


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None),
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after": "2.128"}, 2.128),
    ({"retry-after": " 2 , 3.5 "}, 3.5),
    ({"retry-after": date(THEIRS + timedelta(seconds=9)), "date": date(THEIRS)}, 9.0),
    ({"retry-after": date(NOW + timedelta(seconds=9))}, 9.0),
    ({"retry-after": date(NOW + timedelta(seconds=9)), "date": "Thu, 01 Jan 1970 00:00:00 GMT"}, 9.0),
    ({"retry-after": date(NOW)}, None),
    *(({"retry-after": text}, None) for text in ("", "0", "soon", "-5", "nan", "inf", "1,x")),
])  # fmt: skip
def test_retry_after_is_read_in_every_form(headers, seconds):
    """Integer, decimal, list and HTTP date; None where it says nothing of use."""
    assert seconds == retry_after(headers, NOW)


def test_an_http_date_is_a_time_of_any_zone_that_can_be_right():
    """`-0000` is UTC; years before 2015 stand for none."""
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    texts = ("Tue, 24 Nov 2026 12:00:00 -0000", "Tue, 24 Nov 2026 13:00:00 +0100")

    assert [noon] * 2 == [http_date(one) for one in texts]
    assert http_date("Thu, 01 Jan 2015 00:00:00 GMT")
    assert http_date("Wed, 31 Dec 2014 23:59:59 GMT") is None


# -- what an error says --


def test_an_error_is_told_in_a_sentence_and_in_a_log_line():
    """What is not known is left out of the one, and None in the other."""
    ids = {"graph_request_id": "g-1", "client_request_id": "c-1"}
    known = REFUSED("No.", status=400, code="C", **ids)
    errors = [known, FAILED("No.", status=500), FAILED("gone")]

    assert ["No (HTTP 400 C)", "No (HTTP 500)", "gone"] == [one.summary for one in errors]
    names = ("graphStatus", "graphErrorCode", "detail", "graphRequestId", "clientRequestId")
    values = [(400, "C", "No.", "g-1", "c-1"), (500, None, "No.", None, None)]
    assert [dict(zip(names, one, strict=True)) for one in values] == [
        one.fields() for one in errors[:2]
    ]
    assert "No." == str(known)


@pytest.mark.parametrize(("status", "unknown", "never_sent"), [
    (None, False, True), (None, True, False), (400, False, False), (503, True, False),
])  # fmt: skip
def test_a_call_was_never_sent_when_graph_did_not_answer_and_cannot_have_acted(
    status, unknown, never_sent
):
    assert never_sent is FAILED("x", status=status, outcome_unknown=unknown).never_sent


@pytest.mark.parametrize(("status", "code", "roles", "scoped", "cause"), [
    (401, "InvalidAuthenticationToken", [], False, "token"),
    (403, "NoLicense", [], True, "licence"),
    (403, "UnAuthorized", [], False, "permission"),
    (403, "UnAuthorized", [], True, "role scope"),
    (403, "UnAuthorized", [WRITE_ROLE], False, "licence"),
])  # fmt: skip
def test_what_to_do_about_a_denial(status, code, roles, scoped, cause):
    """With the permission in the token it is not the access package: a licence, or patience."""
    assert REMEDIES[cause] == error(status, {"error": {"code": code}}, roles, scoped).remedy
    assert REMEDIES["identity"] == DENIED("Graph did not answer").remedy
