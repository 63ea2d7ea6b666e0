"""$batch: up to twenty calls in one, each answered as if it came alone.

For: what makes a batch malformed as a whole or in one item, and how its answers are written.
Not for: what an item does (service.py). `dependsOn` is not offered by this stand-in.
"""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from emulator.call import Answer, Call, GraphError, bad, no_segment, route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emulator.call import Route
    from emulator.checks import Json
    from emulator.service import Service

LIMIT = 20
INVALID = "Invalid batch payload format."
STRANGERS: list[Any] = [None, "x", [], {"status": 200}, {"id": "999", "status": 200}, {"id": {}}]


class Batches:
    """Answers batches by asking the service item by item."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.control = service.control
        self.dice = random.Random(1)

    def answer(self, call: Call, version: str) -> Answer:
        """Answer a whole batch. Raises GraphError where it is refused as a whole."""
        if not self.control.values.batch_supported:
            raise no_segment("$batch")
        items = _items(call)
        responses = [
            {"id": item["id"], **_item_json(self._item(call, version, item))} for item in items
        ]
        self.dice.shuffle(responses)
        body = {"responses": odd(responses, self.control.values.batch_answers)}
        return Answer(200, {"Content-Type": "application/json"}, body)

    def _item(self, batch: Call, version: str, item: Json) -> Answer:
        path, _, text = item["url"].partition("?")
        headers = {name.lower(): str(value) for name, value in (item.get("headers") or {}).items()}
        call = Call(
            method=item["method"].upper(),
            path=f"/{version}/{unquote(path).lstrip('/')}",
            query=text,
            headers=headers,
            body=item.get("body"),
            base=batch.base,
            claims=batch.claims,
        )
        found = route(call.method, call.path)
        entry = self.service.entry(call, found, parent=batch.graph_request_id)
        fault = self.control.faults.take(found.operation, found.request_id, in_batch=True)
        if fault is None:
            answer = self._carried_out(call, found, item)
        else:
            answer = self.service.fault_answer(call, fault)
        entry["status"] = answer.status
        return answer

    def _carried_out(self, call: Call, found: Route, item: Json) -> Answer:
        try:
            if found.operation == "batch" or (
                not item["url"].startswith("/") and "://" in item["url"]
            ):
                bad("The url of a batch item is relative, without version, and no batch itself.")
            if call.method not in ("GET", "HEAD"):
                if status := self.control.values.batch_post_status:
                    raise GraphError(status, "BadRequest", "This is not allowed in a batch.")
                # Two reports (msgraph-sdk-dotnet#2628, ms-365-mcp-server#677) read as if the
                # whole batch failed; which it is, is unconfirmed.
                json_type = _media_type(call)
                if not isinstance(call.body, dict) or json_type != "application/json":
                    missing = "does not contain Content-Type header or body."
                    bad(f"Write request id : {item['id']} {missing}")
            return self.service.one(call, found)
        except GraphError as error:
            return self.service.error(call, error)


def odd(responses: list[Json], how: Sequence[str]) -> Any:
    """Write the answers of a batch as the switch batchAnswers says."""
    shown: list[Any] = [_odd_one(one, how) for one in responses]
    if "doubled" in how:
        shown += shown
    if "strangers" in how:
        shown = [*STRANGERS, *shown]
    return shown


def _odd_one(one: Json, how: Sequence[str]) -> Json:
    shown = dict(one)
    if "numberIds" in how and one["id"].isdecimal():
        shown["id"] = int(one["id"])
    if "upperHeaders" in how:
        shown["headers"] = {name.upper(): value for name, value in one["headers"].items()}
    if "nullHeaders" in how:
        shown["headers"] = None
    if "noHeaders" in how:
        del shown["headers"]
    if "noBody" in how:
        shown.pop("body", None)
    return shown


def _media_type(call: Call) -> str:
    return call.headers.get("content-type", "").partition(";")[0].strip().lower()


def _items(call: Call) -> list[Json]:
    """Read a batch's items, with all checks that fail a batch as a whole."""
    if _media_type(call) != "application/json":
        bad(f"{INVALID} Content-Type must be application/json.")
    if parse_qsl(call.query, keep_blank_values=True):
        bad("A batch takes no query options.")
    try:
        payload = json.loads(call.body) if isinstance(call.body, bytes) else call.body
    except ValueError:
        payload = None
    items = payload.get("requests") if isinstance(payload, dict) else None
    if not isinstance(items, list) or not items:
        bad(INVALID)
    if len(items) > LIMIT:
        message = f"Number of batch request steps exceeds the maximum value of {LIMIT}."
        raise GraphError(400, "MaximumValueExceeded", message)
    seen: set[str] = set()
    for item in items:
        if not isinstance(item, dict) or not all(
            _text(item.get(name)) for name in ("id", "method", "url")
        ):
            bad(f"{INVALID} Every request needs id, method and url.")
        if item["id"] in seen:
            bad(f"Request id '{item['id']}' is used more than once in the batch.")
        if not isinstance(item.get("headers") or {}, dict):
            bad(f"{INVALID} headers must be an object.")
        if "dependsOn" in item:
            bad("dependsOn is not offered by this stand-in for Graph.")
        seen.add(item["id"])
    return items


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _item_json(answer: Answer) -> Json:
    """Write an item's answer. Without a body there is no key for it: unconfirmed."""
    shown: Json = {"status": answer.status, "headers": answer.headers}
    if answer.body is None:
        return shown
    if isinstance(answer.body, str):  # what is not JSON comes as base64
        return {**shown, "body": base64.b64encode(answer.body.encode()).decode()}
    return {**shown, "body": answer.body}
