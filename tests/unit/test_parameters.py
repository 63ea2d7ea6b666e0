"""parameters.py: what is ambiguous is refused, whatever the host has made of it.

Not for: that no bytes and no address break it (tests/fuzz/callers.py).
"""

from datetime import UTC, datetime

import pytest

from reprocess_http.parameters import Parameters, load_json, query_pairs, reject_body
from reprocess_http.responses import Problem

KNOWN = {"wait", "dryRun"}
ONLY = "is not a parameter here, only dryRun and wait."


def parameters(query, known=KNOWN):
    return Parameters(f"https://app.example/api/x{query}", known)


def detail(call, *given):
    with pytest.raises(Problem) as caught:
        call(*given)
    assert "invalid-parameter" == caught.value.name
    return caught.value.detail


@pytest.mark.parametrize(("query", "says"), [
    *((f"?{one}", "'dryRun' has no value.") for one in ("dryRun", "dryRun=")),
    *((f"?{one}=6", f"'{one}' {ONLY}") for one in ("dryrun", "dry-run", "Wait", "", "?wait")),
    *((f"?wait=5&{one}", "'wait' is given more than once.") for one in ("wait=6", "wait=")),
    *((f"?dryRun=true&wait=5&{one}=6", f"'{one}' is given more than once.") for one in ("Wait", "DRYRUN")),
    (f"?{'x' * 99}=1", f"'{'x' * 60}' {ONLY}"),
])  # fmt: skip
def test_unknown_empty_and_repeated_parameters_are_refused(query, says):
    """Also repeated in another case, which the host would join [seen: the host's source]."""
    assert says == detail(parameters, query)
    assert "'x' is not a parameter here, there is none." == detail(parameters, "?x=1", set())


@pytest.mark.parametrize("key", ["code=k", "Code=k", "CODE=k&code=j", "code=", "clientId=default"])
def test_a_function_key_in_the_url_is_the_hosts(key):
    """In any case, as the host takes it [seen: the host's own converter, run]."""
    assert {"wait": "5"} == parameters(f"?{key}&wait=5").values


@pytest.mark.parametrize(("query", "pairs"), [
    ("", []), ("?", []), ("?a=1=2&a", [("a", "1=2"), ("a", "")]), ("?a=1#b", [("a", "1#b")]),
    ("?a=b+c&&d=%2F%20e", [("a", "b c"), ("d", "/ e")]),
])  # fmt: skip
def test_the_query_is_read_as_the_host_reads_it(query, pairs):
    """But for what the host drops and joins."""
    assert pairs == query_pairs(f"https://app.example/api/x{query}")


def test_whole_numbers():
    """From least to most; absent is the default."""
    for query, value in (("", 7), ("?wait=0", 0), ("?wait=60", 60), ("?wait=05", 5)):
        assert value == parameters(query).whole_number("wait", 7, 0, 60)
    says = "'wait' should be a whole number of seconds, 0 to 60."
    for wrong in ("61", "-1", "1.0", "²", "9" * 5000):
        asked = parameters(f"?wait={wrong}").whole_number
        assert says == detail(asked, "wait", 7, 0, 60, " of seconds")


def test_flags():
    """True or false in any case; absent is false."""
    for query, value in (("", False), ("?dryRun=False", False), ("?dryRun=TRUE", True)):
        assert value is parameters(query).flag("dryRun")
    for wrong in ("yes", "1"):
        asked = parameters(f"?dryRun={wrong}").flag
        assert "'dryRun' should be true or false." == detail(asked, "dryRun")


def test_times():
    """As answers give them; a time that Graph would not write is none."""
    at = datetime(2026, 11, 24, 10, tzinfo=UTC)

    assert at == parameters("?at=2026-11-24T10%3A00%3A00Z", {"at"}).time("at")
    assert parameters("", {"at"}).time("at") is None
    says = "'at' should be a UTC time such as 2026-01-31T12:00:00Z."
    for wrong in ("now", "0001-01-01T00:00:00Z"):
        assert says == detail(parameters(f"?at={wrong}", {"at"}).time, "at")


@pytest.mark.parametrize("body", [b'{"dryRun": true}', b"null", b"\xff"])
def test_a_body_with_something_in_it_is_refused(body):
    """A dry run in it must not run for real. ServiceNow and Jira send braces, which are none."""
    for none in (b" \r\n", b"{ }\n"):
        reject_body(none)
    says = "This call reads no body: parameters such as dryRun go into the query."

    assert says == detail(reject_body, body)


@pytest.mark.parametrize(("raw", "says"), [
    (b'{"x": {"a": 1, "\\u0061": 1}}', "an object has the same key twice"),
    (b'{"a": -Infinity}', "-Infinity is not JSON"),
    (b"[" * 200_000, "it is nested too deeply"),
    (b"\xff", "it is not UTF-8"),
    (b'{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
], ids=lambda value: str(value)[:30])  # fmt: skip
def test_json_errors_say_what_is_wrong_and_where(raw, says):
    """Ambiguous and unreadable documents alike."""
    with pytest.raises(ValueError) as caught:
        load_json(raw)

    assert says == str(caught.value)


def test_a_byte_order_mark_is_passed_over():
    """Once, at the beginning: some senders write one."""
    assert {"a": 1} == load_json(b'\xef\xbb\xbf{"a": 1}')
    with pytest.raises(ValueError, match="line 1"):
        load_json(b"\xef\xbb\xbf" * 2 + b"{}")
