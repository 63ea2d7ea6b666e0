"""The webhook: reprocess the request that a ticketing system's payload names, within ten seconds.

Not for: whether the sender may call (auth.py). Of the payload only the id is used: the rest is read
from Graph. Final judgements are answered 200, since senders repeat 409 and 5xx.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import settings as app_settings
from attempts import printable
from deadline import Deadline
from reprocess_http import auth, reprocess_request
from reprocess_http.handler import Route
from reprocess_http.parameters import load_json
from reprocess_http.responses import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.functions as func

    from reprocess_http.auth import Caller
    from reprocess_http.handler import Call
    from reprocess_http.responses import Answer

MAX_BODY = 1024 * 1024  # bytes
SECONDS = 9.0  # for reading, claiming, sending and deferring: senders are promised ten
SHOWN = 60  # characters of a value that is no GUID
FINAL_JUDGEMENTS = {"windowClosed", "notReprocessable", "refused", "requestNotFound"}
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # of an array, without leading zeros


def request_id(body: bytes, headers: Mapping[str, str], pointer: str) -> str:
    """Return the request id that the JSON Pointer leads to, in lower case.

    White space and braces around it are removed. Raises Problem (no-request-id,
    unsupported-media-type).
    """
    if not body.strip():
        why = auth.explain_empty_body(headers)
        raise _no_request_id(f"There should be one JSON document: {why}.")
    try:
        document = load_json(body)
    except ValueError as error:
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type in FORMS:
            detail = "The body is a form: set the sender's content type to application/json."
            raise Problem("unsupported-media-type", detail) from error
        form = "one JSON document in UTF-8, without duplicate keys"
        raise _no_request_id(f"The body should be {form}: {error}.") from error
    value = _at(document, pointer)
    if not isinstance(value, str):
        raise _no_request_id(f"At {pointer} should be a string, and there is something else.")
    found = value.strip().removeprefix("{").removesuffix("}").strip()
    if not app_settings.is_guid(found):
        form, shown = "a GUID in 8-4-4-4-12 form", printable(value[:SHOWN])
        raise _no_request_id(f"At {pointer} should be {form}, and there is '{shown}'.")
    return found.lower()


def _at(document: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Follow a JSON Pointer (RFC 6901). Raises Problem where it leads nowhere.

    `-` is the element after the last one, so it never leads anywhere.
    """
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            where = f"{pointer}, where WEBHOOK_REQUEST_ID_POINTER looks"
            raise _no_request_id(f"The body has nothing at {where}.")
    return value


def _no_request_id(detail: str) -> Problem:
    return Problem("no-request-id", detail)


def _by_signature(req: func.HttpRequest) -> Caller:
    body = req.get_body()
    if len(body) > MAX_BODY:  # before anything is spent on it
        raise Problem("body-too-large", f"A body may have {MAX_BODY // 1024} KiB at most.")
    caller = auth.verify_webhook(req.headers, body, time.time(), auth.LEVEL)
    return auth.reject_cross_site(req.headers, caller)


def _id_in_body(call: Call) -> str:
    pointer = app_settings.current().webhook_request_id_pointer
    return request_id(call.req.get_body(), call.req.headers, pointer)


def _reprocess(call: Call) -> Answer:
    """Reprocess; where Graph is in trouble, promise the next sweep, but for a dry run.

    The query is not looked at: Jira Cloud appends `triggeredByUser`.
    """
    settings = app_settings.current()
    deadline = Deadline(min(SECONDS, settings.http_budget_seconds))
    result = reprocess_request.request_service(settings).reprocess(
        call.request_id, call.caller.name, deadline, promise=not settings.sweep_dry_run
    )
    if result.outcome not in reprocess_request.PROBLEM_FOR_OUTCOME:
        return reprocess_request.result_answer(call, result)
    problem = reprocess_request.result_problem(result)
    if result.outcome not in FINAL_JUDGEMENTS:
        raise problem
    return reprocess_request.result_answer(call, result, problem.detail)


WEBHOOK = Route("webhook", _by_signature, _reprocess, _id_in_body)
