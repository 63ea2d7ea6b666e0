"""webhook.py: the id is taken from exactly where the pointer says; final judgements are 200."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graph
from reprocess_http.responses import Problem
from reprocess_http.webhook import MAX_BODY, WEBHOOK, request_id
from reprocessing.states import Result
from tests.support.http_calls import ID, NOW, Service, call, failed_request, hub

SECRET = "a-secret-of-twenty-four-bytes"
BODY = json.dumps({"requestId": ID}).encode()
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(("document", "pointer"), [
    ({"requestId": ID}, "/requestId"),
    ({"requestId": ID.upper()}, "/requestId"),
    ({"issue": {"fields": [{"n": 1e9}, {"id": ID, "ü": None}]}}, "/issue/fields/1/id"),
    ([1, [0, ID]], "/1/1"),
    ({"~1": ID, "/": "x"}, "/~01"),
    ({"\u00e9": ID, "e\u0301": "x"}, "/\u00e9"),
], ids=str)  # fmt: skip
def test_the_pointer_leads_to_the_id(document, pointer):
    """RFC 6901, with its escapes and array indices; names are as they are."""
    assert ID == request_id(json.dumps(document).encode(), {}, pointer)
    assert ID == request_id(json.dumps(document, ensure_ascii=False).encode(), {}, pointer)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_path_of_names_can_be_pointed_to(names):
    """Escaped as RFC 6901 says, every name is found again."""
    document = ID
    for name in reversed(names):
        document = {"other": 1, name: document}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)

    assert ID == request_id(json.dumps(document).encode(), {}, pointer)


@pytest.mark.parametrize("text", [f" {ID}\n", f"\u00a0{ID}\u00a0", f"{{{ID}}}", f" {{ {ID.upper()} }}\r\n"])  # fmt: skip
def test_white_space_and_braces_around_the_id_are_removed(text):
    """Forms and templates put them there [seen: jellyfin-plugin-webhook PR 220, polar#9545]."""
    assert ID == request_id(json.dumps({"requestId": text}).encode(), {}, "/requestId")


NO_JSON = "The body should be one JSON document in UTF-8, without duplicate keys: "
NOTHING = "The body has nothing at /requestId, where WEBHOOK_REQUEST_ID_POINTER looks."
NO_STRING = "At /requestId should be a string, and there is something else."
pytestmark = pytest.mark.usefixtures("configured")
PORTAL = f"https://portal.example/#requests/{ID}/and-more-of-it"


def guid_said(text):
    return f"At /requestId should be a GUID in 8-4-4-4-12 form, and there is '{text}'."


@pytest.mark.parametrize(("body", "says"), [
    (b"", "There should be one JSON document: the body came empty."),
    (b'{"note":"a\nb","requestId":"x"}', f"{NO_JSON}line 1, column 11: Invalid control character at."),
    (b"{}", NOTHING),
    (f'{{"RequestId": "{ID}"}}'.encode(), NOTHING),
    (f'{{"requestId": ["{ID}"]}}'.encode(), NO_STRING),
    (b'{"requestId": "REQ0010042"}', guid_said("REQ0010042")),
    (f'{{"requestId": "{PORTAL}"}}'.encode(), guid_said(PORTAL[:60])),
    (b'{"requestId": "a\\u0000\\ud800b"}', guid_said("a  b")),
    (f'{{"requestId": "{{{{{ID}}}}}"}}'.encode(), guid_said(f"{{{{{ID}}}}}")),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_no_id_is_said_and_never_guessed(body, says):
    """Not JSON, missing, or no GUID: what is there, and where.

    [seen: octokit/webhooks.js#158]
    """
    with pytest.raises(Problem) as caught:
        request_id(body, {}, "/requestId")

    assert ("no-request-id", says) == (caught.value.name, caught.value.detail)


@pytest.mark.parametrize("index", [
    "-", "1", "00", "+0", "-1", "0 ", "0\n", "", "\u0660", "length", "9" * 5000, "0/0", "/0",
])  # fmt: skip
def test_an_index_that_leads_nowhere(index):
    """An array has its own indices and no other."""
    with pytest.raises(Problem, match="The body has nothing at /"):
        request_id(f'["{ID}"]'.encode(), {}, f"/{index}")


def test_a_body_that_came_empty_in_chunks_is_named():
    """The host hands on no such body [seen: azure-functions-host#7930]."""
    with pytest.raises(Problem, match="transfer-encoding: chunked"):
        request_id(b" ", {"transfer-encoding": "chunked"}, "/requestId")


@pytest.mark.parametrize("content_type", [
    "application/x-www-form-urlencoded; charset=utf-8", "Multipart/Form-Data; boundary=x",
])  # fmt: skip
def test_a_form_is_told_which_content_type_to_set(content_type):
    """A JSON document under such a type is taken: curl sends it so [seen: backstage#28910]."""
    headers = {"content-type": content_type}
    with pytest.raises(Problem) as caught:
        request_id(b"payload=%7B%22requestId", headers, "/requestId")

    detail = "The body is a form: set the sender's content type to application/json."
    assert ("unsupported-media-type", detail) == (caught.value.name, caught.value.detail)
    assert ID == request_id(BODY, headers, "/requestId")


# -- the route --


@pytest.fixture(name="hook")
def _hook(monkeypatch, caplog):
    """Send a webhook, with what the service returns."""

    def hook(result, query="", body=BODY, **headers):
        service = Service(monkeypatch, result)
        answer = call(WEBHOOK, caplog, query, body, "", "/api/webhook", **headers)
        return answer, service

    return hook


def test_a_signed_webhook_reprocesses(hook, configured):
    """By the secret that signed it; within ten seconds, and with a promise where Graph is not there.

    Its query is not looked at: Jira Cloud appends one of its own. A shorter HTTP_BUDGET_SECONDS counts.
    """
    configured(WEBHOOK_SECRETS=SECRET)
    headers = {name.replace("-", "_"): value for name, value in hub(BODY, SECRET).items()}
    accepted = Result("accepted", None, NOW)
    answer, service = hook(accepted, "triggeredByUser=5b10&x&x", BODY, **headers)

    assert (202, ID) == (answer.status, answer.body["requestId"])
    assert {"location", "retry-after"} < {*answer.headers}
    assert [("reprocess", ID, "webhook secret 1", True)] == service.asked
    assert 8 < service.seconds < 10
    configured(HTTP_BUDGET_SECONDS="5")
    assert hook(accepted)[1].seconds <= 5


@pytest.mark.parametrize("result", [
    Result("windowClosed", failed_request()),
    Result("notReprocessable", failed_request("pendingApproval")),
    Result("refused", failed_request(), error=graph.GraphRefused("Locked", status=400)),
    Result("requestNotFound", error=graph.RequestNotFound("No such request")),
], ids=lambda result: result.outcome)  # fmt: skip
def test_final_judgements_are_no_reason_to_send_again(hook, result):
    """Senders repeat 409 and 5xx, so these are 200 [seen: Atlassian's retry policy]."""
    answer, _ = hook(result)

    detail = answer.body.pop("detail")
    members = {"requestId": ID, "outcome": result.outcome, "correlationId": "run-1"}
    state = {"state": result.request.state} if result.request else {}
    assert (200, members | state) == (answer.status, answer.body)
    assert (result.outcome, detail) == (answer.lines[0]["outcome"], answer.lines[0]["detail"])


def test_a_deferred_webhook(hook):
    """202 without Location: until the sweep, its status is the old failure."""
    answer, _ = hook(Result("deferred", error=graph.GraphTimeout("Silence")))

    url = f"https://app.example/api/requests/{ID}"
    assert {"outcome": "deferred", "statusUrl": url}.items() <= answer.body.items()
    assert 202 == answer.status
    assert not {"location", "retry-after"} & {*answer.headers}
    assert "The next sweep reprocesses it" in answer.body["detail"]
    assert "the first sweep five minutes from now" in answer.body["detail"]


def test_in_a_dry_run_nothing_is_promised(hook, configured):
    """Graph's trouble is the single route's answer, always with Retry-After."""
    configured(SWEEP_DRY_RUN="true")
    answer, service = hook(Result("unknown", error=graph.GraphTimeout("x")))

    assert [("reprocess", ID, "function key", False)] == service.asked
    assert (504, "30") == (answer.status, answer.headers["retry-after"])


def test_the_largest_body_is_read(hook):
    """1 MiB, the id at the very end; a longer one is not looked at."""
    rest = f'", "requestId": "{ID}"}}'
    body = ('{"x": "' + "y" * (MAX_BODY - len(rest) - 7) + rest).encode()

    assert (1024 * 1024, 202) == (len(body), hook(Result("accepted"), body=body)[0].status)
    answer, service = hook(Result("accepted"), body=body + b" ")
    assert (413, "A body may have 1024 KiB at most.") == (answer.status, answer.body["detail"])
    assert [] == service.asked


def test_another_sites_page_sends_no_webhook(hook):
    """Whatever key its browser holds."""
    answer, service = hook(Result("accepted"), sec_fetch_site="same-site")

    assert (403, []) == (answer.status, service.asked)
