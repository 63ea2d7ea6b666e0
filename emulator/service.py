"""Graph's rules for entitlement-management requests: permissions, list, read, reprocess.

For: turning a call into an answer, without any network, so that batch items take the same road.
Not for: HTTP connections and their faults (http_server.py), or the $batch itself (batch.py).
Codes and texts marked "ours" are not confirmed by any published answer: never rely on them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from emulator import query
from emulator.batch import Batches
from emulator.call import (
    CODES,
    ROOT,
    Answer,
    Call,
    GraphError,
    Route,
    bad,
    envelope,
    not_found,
    unauthorized,
)
from emulator.checks import Json, is_guid
from emulator.entity import NEIGHBOURS, PROPERTIES, Writer, time_text
from emulator.identity import TokenRefused
from emulator.paging import Pages
from emulator.switches import READ_ROLE, WRITE_ROLE
from emulator.tenant import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from emulator.control import Control
    from emulator.faults import Fault
    from emulator.identity import Identity
    from emulator.tenant import Request

JSON_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;"
    "IEEE754Compatible=false;charset=utf-8"
)
LIST_OPTIONS = ("$filter", "$expand", "$select", "$top", "$skiptoken")
# Nothing published says how a reprocess is refused: status, code and texts are all ours.
REFUSALS = {
    "delivering": "The request is being delivered.",
    "state": "A request in state {state} cannot be reprocessed.",
    "window": "The request was completed too long ago to be reprocessed.",
    "retrying": "The service is still retrying this request.",
}


class Service:
    """Graph over one tenant."""

    def __init__(self, control: Control, identity: Identity) -> None:
        self.tenant = control.tenant
        self.control = control
        self.identity = identity
        self.values = control.values
        self.pages = Pages(control.tenant, control.values)
        self.batches = Batches(self)

    # ---- one call --------------------------------------------------------------------------------

    def answer(self, call: Call, found: Route) -> Answer:
        """Answer a whole HTTP call."""
        try:
            call.claims = self.identity.check(
                call.headers.get("authorization"), self.tenant.clock()
            )
            if found.operation == "batch":
                return self.batches.answer(call, found.version)
            return self.one(call, found)
        except TokenRefused as refused:
            return self.error(call, GraphError(401, "InvalidAuthenticationToken", str(refused)))
        except GraphError as error:
            return self.error(call, error)

    def one(self, call: Call, found: Route) -> Answer:
        """Answer a call that counts against the throttle: a single one or a batch item.

        Raises GraphError.
        """
        if (throttle := self.control.throttle) is not None:
            refused = throttle.refuses(self.tenant.now())
            if refused is not None:
                raise GraphError(429, "TooManyRequests", "Please retry again later.", refused)
        if found.error is not None:
            raise found.error
        if not self.values.licensed:
            reason = "Reason: Tenant does not meet license requirement!"
            raise GraphError(
                403, "NoLicense", f"User is not authorized to perform the operation. {reason}"
            )
        if found.operation == "list":
            return self._list(call, found.version)
        return (self._read if found.operation == "read" else self._reprocess)(call, found)

    def error(self, call: Call, error: GraphError) -> Answer:
        """Put an error into Graph's envelope."""
        if error.status == 401:
            error.headers["WWW-Authenticate"] = 'Bearer realm="", authorization_uri="about:blank"'
        return envelope(call, error, self.tenant.now(), self.values.error_form)

    def fault_answer(self, call: Call, fault: Fault) -> Answer:
        """Answer as a fault of kind status says."""
        status = fault.status or 503
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        code = fault.code
        if code is None:
            code = CODES.get(status, HTTPStatus(status).phrase.replace(" ", ""))
        message = "The emulator was told to fail." if fault.message is None else fault.message
        return self.error(call, GraphError(status, code, message, headers))

    # ---- permissions -----------------------------------------------------------------------------

    def _has_role(self, call: Call, *wanted: str) -> bool:
        return not set(wanted).isdisjoint(call.claims.get("roles") or ())

    def _in_catalogs(self, package_id: str) -> bool:
        package = self.tenant.packages.get(package_id)
        return package is not None and package.catalog_id in _lower(self.values.catalogs)

    def _check_package(self, *package_ids: str) -> None:
        """Refuse what is about a package that is forbidden or missing."""
        if not _lower(self.values.forbidden_packages).isdisjoint(package_ids):
            raise unauthorized()
        if not _lower(self.values.missing_packages).isdisjoint(package_ids):
            raise not_found()

    def _found(self, call: Call, found: Route, *roles: str) -> Request:
        """Return the request that a path names, if the caller may do this with it."""
        allowed = self._has_role(call, *roles)
        if not allowed and not self.values.catalogs:
            raise unauthorized()
        if not is_guid(found.request_id):
            bad("The request id is not a valid GUID.")  # status documented, text ours
        request = self.tenant.get(found.request_id or "")
        if request is None:
            raise not_found()
        if not allowed and not self._in_catalogs(request.access_package.id):
            raise unauthorized()
        self._check_package(request.access_package.id)
        return request

    # ---- list ------------------------------------------------------------------------------------

    def _list(self, call: Call, version: str) -> Answer:
        options = query.options(call.query, LIST_OPTIONS)
        values = self.values
        select = query.names(options.get("$select"), PROPERTIES[version])
        expand = query.names(options.get("$expand"), NEIGHBOURS) or ()
        if expand and values.expand == "refused":
            bad("Query option '$expand' is not supported for this resource.")
        if "accessPackage/id" in options.get("$filter", "") and "accessPackage" not in expand:
            bad("A filter on accessPackage/id needs $expand=accessPackage.")
        wanted = self._filter(options, version)
        self._may_list(call, wanted)
        hidden = _lower(values.forbidden_packages) | _lower(values.missing_packages)

        def shown(request: Request, now: datetime) -> bool:
            return request.access_package.id not in hidden and (
                wanted is None or wanted.test(request, now)
            )

        rows, link = self.pages.page(call, options, shown)
        name = call.path.rsplit("/", 1)[-1]
        select = None if values.select == "ignored" else select
        expand = () if values.expand == "ignored" else expand
        write = Writer(self.tenant, values, version, self.tenant.now())
        body: Json = {
            "@odata.context": f"{call.base}/{version}/$metadata#{'/'.join(ROOT)}/{name}",
            "value": [write.request(row, select, expand) for row in rows],
        }
        if link is not None:
            body["@odata.nextLink"] = link
        return Answer(200, {"Content-Type": JSON_TYPE}, body)

    def _filter(self, options: Mapping[str, str], version: str) -> query.Filter | None:
        if "$filter" not in options:
            return None
        values = self.values
        found = query.parse_filter(
            options["$filter"],
            version,
            self._listed_package,
            state_counts=values.state_filter != "ignored",
        )
        if found.combined and not values.combined_filter_supported:
            bad("The $filter combines conditions with 'or', which is not supported.")
        return found

    def _listed_package(self, request: Request) -> str | None:
        """Return the access package by which a request is found: a removal may have none."""
        return None if request.is_removal else request.access_package.id

    def _may_list(self, call: Call, wanted: query.Filter | None) -> None:
        """Check that a caller with catalog roles only asks for packages of those catalogs."""
        packages = wanted.packages if wanted else None
        if not self._has_role(call, READ_ROLE, WRITE_ROLE) and not (
            packages and all(map(self._in_catalogs, packages))
        ):
            raise unauthorized()
        self._check_package(*packages or ())

    # ---- one request -----------------------------------------------------------------------------

    def _read(self, call: Call, found: Route) -> Answer:
        query.options(call.query, ())
        request = self._found(call, found, READ_ROLE, WRITE_ROLE)
        return Answer(200, {"Content-Type": JSON_TYPE}, self._entity(call, found, request))

    def _entity(self, call: Call, found: Route, request: Request) -> Json:
        name = call.path.strip("/").split("/")[3]
        context = f"{call.base}/{found.version}/$metadata#{'/'.join(ROOT)}/{name}/$entity"
        write = Writer(self.tenant, self.values, found.version, self.tenant.now())
        return {"@odata.context": context, **write.request(request)}

    def _reprocess(self, call: Call, found: Route) -> Answer:
        query.options(call.query, ())
        if call.body not in (None, b"", {}, b"{}"):
            bad("The action reprocess takes no parameters.")  # ours
        request = self._found(call, found, WRITE_ROLE)
        values = self.values
        try:
            self.tenant.reprocess(request.id)
        except Refused as refused:
            words = REFUSALS.get(refused.reason, refused.reason)
            message = words.replace("{state}", refused.state)
            raise GraphError(values.refusal_status, values.refusal_code, message) from None
        if values.accept_body == "none" or values.accept_status == 204:
            return Answer(values.accept_status)
        body = self._entity(call, found, request)
        return Answer(values.accept_status, {"Content-Type": JSON_TYPE}, body)

    # ---- log -------------------------------------------------------------------------------------

    def entry(self, call: Call, found: Route, **more: Any) -> Json:
        """Note a call in the log; its status is filled in when it is known."""
        entry: Json = {
            "time": time_text(self.tenant.now()),
            "query": call.query,
            "operation": found.operation,
            "requestId": found.request_id,
            "status": None,
            "graphRequestId": call.graph_request_id,
            **more,
        }
        self.control.note(entry)
        return entry


def _lower(ids: tuple[str, ...]) -> set[str]:
    return {one.lower() for one in ids}
