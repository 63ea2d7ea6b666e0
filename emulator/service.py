"""Graph's rules for entitlement-management requests: routes, permissions, list, reprocess, $batch.

For: turning a call into an answer, without any network, so that batch items take the same road.
Not for: HTTP connections and their faults, which are in graph.py.
Codes and texts marked "ours" are not confirmed by any published answer: never rely on them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, quote, unquote

from emulator import query
from emulator.control import READ_ROLE, WRITE_ROLE, Control, Fault, is_guid
from emulator.entity import Json, request_json, time_text
from emulator.identity import Identity, TokenRefused
from emulator.tenant import Refused, Request, Tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = ("v1.0", "beta")
ROOT = ["identityGovernance", "entitlementManagement"]
COLLECTIONS = {
    "v1.0": ("assignmentRequests",),
    "beta": ("assignmentRequests", "accessPackageAssignmentRequests"),
}
METHODS = {"list": "GET", "read": "GET", "reprocess": "POST", "batch": "POST"}
BATCH_LIMIT = 20
JSON_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;"
    "IEEE754Compatible=false;charset=utf-8"
)
DIAGNOSTIC = json.dumps(
    {
        "ServerInfo": {
            "DataCenter": "Emulator",
            "Slice": "E",
            "Ring": "1",
            "ScaleUnit": "000",
            "RoleInstance": "EMULATOR",
        }
    }
)
CODES = {
    400: "BadRequest",
    401: "InvalidAuthenticationToken",
    403: "UnAuthorized",
    404: "ResourceNotFound",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}


@dataclass(slots=True)
class GraphError(Exception):
    """An answer of 400 or more in Graph's envelope."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One call, alone or as a batch item.

    Header names are in lower case; `base` is scheme and host.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | Json | None
    base: str
    graph_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    claims: Json = field(default_factory=dict)

    @property
    def sent_client_id(self) -> str | None:
        """client-request-id if it is a GUID; anything else is ignored."""
        sent = self.headers.get("client-request-id")
        return sent if is_guid(sent) else None

    @property
    def client_id(self) -> str:
        return self.sent_client_id or self.graph_request_id


@dataclass(slots=True)
class Route:
    """What a path means. `error` waits until the caller is known: strangers learn 401, no more."""

    operation: str
    version: str = "v1.0"
    request_id: str | None = None
    error: GraphError | None = None


@dataclass(slots=True)
class Answer:
    """Status, headers and JSON body; no body at all when it is None."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


def no_segment(name: str) -> GraphError:
    """Make the error for a path that does not exist."""
    return GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def bad(message: str) -> NoReturn:
    """Refuse with 400."""
    raise GraphError(400, "BadRequest", message)


def route(method: str, path: str) -> Route:
    """Read a path. Letter case counts: unconfirmed, we take the strict side."""
    version, *segments = path.strip("/").split("/")
    if version not in VERSIONS:
        return Route("other", error=GraphError(400, "BadRequest", f"Invalid version: {version}"))
    if segments == ["$batch"]:
        return _with_method(Route("batch", version), method)
    for at, expected in enumerate([*ROOT, None]):
        given = segments[at] if at < len(segments) else ""
        fits = given == expected if expected else given in COLLECTIONS[version]
        if not fits:
            return Route("other", version, error=no_segment(given))
    match segments[3:]:
        case []:
            return _with_method(Route("list", version), method)
        case [request_id]:
            return _with_method(Route("read", version, request_id.lower()), method)
        case [request_id, "reprocess"]:
            return _with_method(Route("reprocess", version, request_id.lower()), method)
        case rest:
            return Route("other", version, error=no_segment(rest[-1]))


def _with_method(found: Route, method: str) -> Route:
    allowed = METHODS[found.operation]
    if method != allowed:
        # Status documented, code ours. POST on the list and DELETE on a request are not offered.
        message = "Specified HTTP method is not allowed for the request target."
        found.error = GraphError(405, "MethodNotAllowed", message, {"Allow": allowed})
        found.operation = "other"
    return found


class Service:
    """Graph over one tenant."""

    def __init__(self, tenant: Tenant, control: Control, identity: Identity, seed: int = 1) -> None:
        self.tenant = tenant
        self.control = control
        self.identity = identity
        self.random = random.Random(seed)
        self.skip_key = secrets.token_bytes(32)

    # ---- one call --------------------------------------------------------------------------------

    def answer(self, call: Call, found: Route) -> Answer:
        """Answer a whole HTTP call."""
        try:
            call.claims = self.identity.check(
                call.headers.get("authorization"), self.tenant.clock()
            )
            if found.operation == "batch":
                return self._batch(call, found.version)
            return self._one(call, found)
        except TokenRefused as refused:
            error = GraphError(401, "InvalidAuthenticationToken", str(refused))
            error.headers["WWW-Authenticate"] = 'Bearer realm="", authorization_uri="about:blank"'
            return self.error(call, error)
        except GraphError as error:
            return self.error(call, error)

    def _one(self, call: Call, found: Route) -> Answer:
        """Answer a call that counts against the throttle: a single one or a batch item.

        The batch's envelope does not count.
        """
        throttled = self.control.throttled()
        if throttled is not None:
            return self._throttled(call, throttled[1])
        if found.error is not None:
            raise found.error
        if not self.control.values.licensed:
            reason = "Reason: Tenant does not meet license requirement!"
            raise GraphError(
                403, "NoLicense", f"User is not authorized to perform the operation. {reason}"
            )
        try:
            if found.operation == "list":
                return self._list(call, found.version)
            if found.operation == "read":
                return self._read(call, found)
            return self._reprocess(call, found)
        except query.BadQuery as wrong:
            bad(str(wrong))

    def error(self, call: Call, error: GraphError) -> Answer:
        """Put an error into Graph's envelope."""
        inner = {
            "date": self.tenant.now().strftime("%Y-%m-%dT%H:%M:%S"),
            "request-id": call.graph_request_id,
            "client-request-id": call.client_id,
        }
        body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
        return Answer(error.status, {"Content-Type": "application/json", **error.headers}, body)

    def fault_answer(self, call: Call, fault: Fault) -> Answer:
        """Answer as a fault of kind status says."""
        status = fault.status or 503
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
        if status < 400:
            return Answer(status, headers)
        code = CODES.get(status, "UnknownError") if fault.code is None else fault.code
        message = "The emulator was told to fail." if fault.message is None else fault.message
        return self.error(call, GraphError(status, code, message, headers))

    def _throttled(self, call: Call, retry_after: str | None) -> Answer:
        answer = self.error(call, GraphError(429, "TooManyRequests", "Please retry again later."))
        answer.body["error"]["innerError"] |= {
            "code": "429",
            "message": "Please retry after",
            "status": "429",
        }
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    # ---- permissions -----------------------------------------------------------------------------

    def _has_role(self, call: Call, *wanted: str) -> bool:
        return not set(wanted).isdisjoint(call.claims.get("roles") or ())

    def _in_catalogs(self, package_id: str) -> bool:
        package = self.tenant.packages.get(package_id)
        return package is not None and package.catalog.id in {
            c.lower() for c in self.control.values.catalogs
        }

    def _found(self, call: Call, found: Route, *roles: str) -> Request:
        """Return the request that a path names, if the caller may do this with it."""
        allowed = self._has_role(call, *roles)
        if not allowed and not self.control.values.catalogs:
            raise _unauthorized()
        if not is_guid(found.request_id):
            bad("The request id is not a valid GUID.")  # status documented, text ours
        request = self.tenant.get(found.request_id or "")
        if request is None:
            # Status documented, code and text ours.
            raise GraphError(
                404, "ResourceNotFound", "The access package assignment request was not found."
            )
        if not allowed and not self._in_catalogs(request.access_package.id):
            raise _unauthorized()
        return request

    # ---- reading ---------------------------------------------------------------------------------

    def _list(self, call: Call, version: str) -> Answer:
        options = query.options(call.query, ("$filter", "$expand", "$select", "$skiptoken"))
        expand = _expand(options, version)
        wanted = query.parse_filter(options["$filter"], version) if "$filter" in options else None
        if wanted and wanted.names_package and "accessPackage" not in expand.navigation:
            bad("A filter on accessPackage/id needs $expand=accessPackage.")
        if wanted and wanted.combined and not self.control.values.combined_filter_supported:
            bad("The $filter combines conditions with 'or', which is not supported.")
        self._may_list(call, wanted)
        bound = _bound(call.path, options)
        after = self._key(options["$skiptoken"], bound) if "$skiptoken" in options else None
        now = self.tenant.now()
        rows, more = self.tenant.page(
            wanted.test if wanted else lambda _request, _now: True,
            after,
            self.control.values.page_size,
        )
        name = call.path.rsplit("/", 1)[-1]
        body: Json = {
            "@odata.context": f"{call.base}/{version}/$metadata#{'/'.join(ROOT)}/{name}",
            "value": [request_json(row, version, expand, now) for row in rows],
        }
        if more:
            options["$skiptoken"] = self._skiptoken(rows[-1], bound)
            body["@odata.nextLink"] = f"{call.base}{call.path}?{_query_text(options)}"
        return Answer(200, {"Content-Type": JSON_TYPE}, body)

    def _may_list(self, call: Call, wanted: query.Filter | None) -> None:
        """Check that a caller with catalog roles only asks for packages of those catalogs."""
        if self._has_role(call, READ_ROLE, WRITE_ROLE):
            return
        packages = wanted.packages if wanted else None
        if not packages or not all(self._in_catalogs(package) for package in packages):
            raise _unauthorized()

    def _read(self, call: Call, found: Route) -> Answer:
        options = query.options(call.query, ("$expand", "$select"))
        expand = _expand(options, found.version)
        request = self._found(call, found, READ_ROLE, WRITE_ROLE)
        name = call.path.strip("/").split("/")[3]
        context = f"{call.base}/{found.version}/$metadata#{'/'.join(ROOT)}/{name}/$entity"
        body = {
            "@odata.context": context,
            **request_json(request, found.version, expand, self.tenant.now()),
        }
        return Answer(200, {"Content-Type": JSON_TYPE}, body)

    # ---- $skiptoken ------------------------------------------------------------------------------

    def _skiptoken(self, last: Request, bound: str) -> str:
        """Sign the last row's key together with the query: opaque, good for this query only."""
        key = f"{last.created.isoformat()} {last.id}".encode()
        return base64.urlsafe_b64encode(self._signature(key, bound) + key).decode().rstrip("=")

    def _key(self, token: str, bound: str) -> tuple[datetime, str]:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, key = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, self._signature(key, bound)):
            bad("The $skiptoken is not valid for this query.")
        created, request_id = key.decode().split(" ")
        return datetime.fromisoformat(created), request_id

    def _signature(self, key: bytes, bound: str) -> bytes:
        return hmac.digest(self.skip_key, bound.encode() + b"\0" + key, hashlib.sha256)[:16]

    # ---- reprocess -------------------------------------------------------------------------------

    def _reprocess(self, call: Call, found: Route) -> Answer:
        query.options(call.query, ())
        if call.body not in (None, b"", {}, b"{}"):
            bad("The action reprocess takes no parameters.")  # ours
        request = self._found(call, found, WRITE_ROLE)
        try:
            self.tenant.reprocess(request.id)
        except Refused as refused:
            # Nothing published says how a reprocess is refused: status, code and text are all ours.
            texts = {
                "delivering": "The request is being delivered.",
                "state": f"A request in state {refused.state} cannot be reprocessed.",
                "window": "The request was completed too long ago to be reprocessed.",
            }
            raise GraphError(400, "InvalidRequestState", texts[refused.reason]) from None
        return Answer(202)

    # ---- $batch ----------------------------------------------------------------------------------

    def _batch(self, call: Call, version: str) -> Answer:
        if not self.control.values.batch_supported:
            raise no_segment("$batch")
        items = _items(call)
        results: dict[str, Json | None] = {}
        statuses: dict[str, int] = {}
        for item in items:
            failed = any(statuses[other] >= 400 for other in item.get("dependsOn", ()))
            answer = self._item(call, version, item, failed)
            if answer is not None:
                results[item["id"]] = {"id": item["id"], **_item_json(answer)}
            statuses[item["id"]] = answer.status if answer is not None else 200
        responses = [result for result in results.values() if result is not None]
        self.random.shuffle(responses)
        return Answer(200, {"Content-Type": "application/json"}, {"responses": responses})

    def _item(
        self, batch: Call, version: str, item: Json, dependency_failed: bool
    ) -> Answer | None:
        """Answer one item; None leaves it out, which only a fault does."""
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
        entry = self.entry(call, found, parent=batch.graph_request_id, itemId=item["id"])
        fault = self.control.take_fault(found.operation, found.request_id, in_batch=True)
        if dependency_failed:
            answer = self.error(
                call, GraphError(424, "FailedDependency", "A request it depends on has failed.")
            )
        elif fault is not None and not fault.after:
            answer = self._item_fault(call, fault)
        else:
            answer = self._item_answer(call, found, item)
            if fault is not None:
                answer = self._item_fault(call, fault)
        if fault is not None:
            entry["fault"] = fault.kind
        if fault is not None and fault.kind == "missing":
            return None
        entry["status"] = answer.status
        return answer

    def _item_answer(self, call: Call, found: Route, item: Json) -> Answer:
        try:
            if found.operation == "batch" or (
                not item["url"].startswith("/") and "://" in item["url"]
            ):
                bad("The url of a batch item is relative, without version, and no batch itself.")
            if call.method not in ("GET", "HEAD"):
                # Two reports (msgraph-sdk-dotnet#2628, ms-365-mcp-server#677) read as if the
                # whole batch failed; which it is, is unconfirmed.
                json_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
                if not isinstance(call.body, dict) or json_type != "application/json":
                    missing = "does not contain Content-Type header or body."
                    bad(f"Write request id : {item['id']} {missing}")
            return self._one(call, found)
        except GraphError as error:
            return self.error(call, error)

    def _item_fault(self, call: Call, fault: Fault) -> Answer:
        if fault.kind == "html":
            # A body that is not JSON comes as base64 text inside a batch.
            page = base64.b64encode(HTML.encode()).decode()
            return Answer(fault.status or 502, {"Content-Type": "text/html"}, page)
        if fault.kind == "empty":
            return Answer(fault.status or 200)
        return self.fault_answer(call, fault)

    # ---- log -------------------------------------------------------------------------------------

    def entry(self, call: Call, found: Route, **more: str) -> Json:
        """Note a call in the log; its status is filled in when it is known."""
        entry: Json = {
            "time": time_text(self.tenant.now()),
            "method": call.method,
            "path": call.path,
            "query": call.query,
            "operation": found.operation,
            "requestId": found.request_id,
            "status": None,
            "clientRequestId": call.sent_client_id,
            "graphRequestId": call.graph_request_id,
            "fault": None,
            **more,
        }
        self.control.note(entry)
        return entry


HTML = (
    "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    "<body><h1>502 Bad Gateway</h1></body></html>"
)


def _unauthorized() -> GraphError:
    reason = "Reason: The caller is not authorized."
    return GraphError(
        403, "UnAuthorized", f"User is not authorized to perform the operation. {reason}"
    )


def _expand(options: Mapping[str, str], version: str) -> query.Expand:
    expand = query.Expand()
    if "$expand" in options:
        expand.navigation = query.parse_expand(options["$expand"], version, "request")
    if "$select" in options:
        expand.select = query.parse_select(options["$select"], version, "request")
    return expand


def _bound(path: str, options: Mapping[str, str]) -> str:
    return json.dumps([path, sorted((k, v) for k, v in options.items() if k != "$skiptoken")])


def _query_text(options: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe="$'(),/:;=-_")}" for name, value in options.items())


def _items(call: Call) -> list[Json]:
    """Read a batch's items, with all checks that fail a batch as a whole."""
    invalid = "Invalid batch payload format."
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        bad(f"{invalid} Content-Type must be application/json.")
    if parse_qsl(call.query, keep_blank_values=True):
        bad("A batch takes no query options.")
    try:
        payload = json.loads(call.body) if isinstance(call.body, bytes) else call.body
    except ValueError:
        payload = None
    items = payload.get("requests") if isinstance(payload, dict) else None
    if not isinstance(items, list) or not items:
        bad(invalid)
    if len(items) > BATCH_LIMIT:
        message = f"Number of batch request steps exceeds the maximum value of {BATCH_LIMIT}."
        raise GraphError(400, "MaximumValueExceeded", message)
    seen: set[str] = set()
    for item in items:
        if not isinstance(item, dict) or not all(
            _text(item.get(name)) for name in ("id", "method", "url")
        ):
            bad(f"{invalid} Every request needs id, method and url.")
        if item["id"] in seen:
            bad(f"Request id '{item['id']}' is used more than once in the batch.")
        if not isinstance(item.get("headers") or {}, dict):
            bad(f"{invalid} headers must be an object.")
        depends = item.get("dependsOn", [])
        # Earlier items only: that the whole batch is refused otherwise is ours.
        if not isinstance(depends, list) or not all(
            _text(other) and other in seen for other in depends
        ):
            bad(f"{invalid} dependsOn must list ids of earlier requests.")
        seen.add(item["id"])
    return items


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _item_json(answer: Answer) -> Json:
    """Write an item's answer. Without a body there is no key for it: unconfirmed."""
    shown: Json = {"status": answer.status, "headers": answer.headers}
    return shown if answer.body is None else {**shown, "body": answer.body}
