"""What can go wrong with a call to Graph, as errors that say what it means.

Not for: which HTTP status is which error (http.py).

    GraphError                 detail, status, code, told_wait, lost, ids of the call
    ├── GraphRefused           Graph says no to this one call
    │   ├── RequestNotFound    there is no such request
    │   └── BatchNotAccepted   Graph does not take this `$batch`, whatever is in it
    ├── GraphDenied            Graph or the managed identity denies us; `remedy` says what to do
    ├── GraphThrottled         Graph wants us to wait
    └── GraphFailed            Graph or the identity is failing or unreachable, or of no use
        └── GraphTimeout       no answer in time

`lost` means that Graph may have carried out the call although it is an error here.
"""

from __future__ import annotations

from typing import Any

# What grants what seems to be missing, by what a denial looks like.
REMEDIES = {
    "permission": "It looks like the permission: grant the managed identity the application "
    "permission EntitlementManagement.ReadWrite.All on Microsoft Graph, or the role Access package "
    "assignment manager on the catalog.",
    "role scope": "It looks like the role scope: give the managed identity the role Access package "
    "assignment manager on the catalog of this access package.",
    "licence": "It looks like the licence: the tenant needs Microsoft Entra ID Governance or "
    "Entra ID P2.",
    "token": "Graph does not accept the token: check GRAPH_CLOUD, and that the managed identity "
    "belongs to this tenant.",
    "identity": "Check that the app has a managed identity, and that AZURE_CLIENT_ID names one "
    "that is assigned to it.",
}


class GraphError(Exception):
    """A call to Graph that did not end well; the subclasses tell what that means."""

    def __init__(  # noqa: PLR0913 - what catchers need
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str = "",
        told_wait: float | None = None,
        lost: bool = False,
        graph_request_id: str = "",
        client_request_id: str = "",
    ) -> None:
        """Keep what a catcher needs.

        `status` and `code` are Graph's own, for the log; `told_wait`: the seconds that Graph told
        us to wait, None when it told nothing of use (missing, 0, in the past, no time at all).
        """
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.told_wait = told_wait
        self.lost = lost
        self.graph_request_id = graph_request_id
        self.client_request_id = client_request_id

    @property
    def described(self) -> str:
        """The detail, with Graph's status and code in brackets where there are any."""
        known = f"HTTP {self.status} {self.code}".strip() if self.status else ""
        return f"{self.detail.rstrip('.')} ({known})" if known else self.detail.rstrip(".")

    def fields(self) -> dict[str, Any]:
        """Return what a log line tells of this call; what is not known is None."""
        return {
            "graphStatus": self.status,
            "graphErrorCode": self.code or None,
            "detail": self.detail,
            "graphRequestId": self.graph_request_id or None,
            "clientRequestId": self.client_request_id or None,
        }


class GraphRefused(GraphError):
    """Graph says no to this one call."""


class RequestNotFound(GraphRefused):
    """There is no request with this id, as far as Graph lets us see."""


class BatchNotAccepted(GraphRefused):
    """Graph does not take this `$batch`, whatever is in it; nothing in it was carried out."""


class GraphDenied(GraphError):
    """Graph or the managed identity denies us; `looks_like` says what seems to be missing."""

    looks_like = "identity"

    @property
    def remedy(self) -> str:
        """One or two sentences that say what to grant or check."""
        return REMEDIES[self.looks_like]


class GraphThrottled(GraphError):
    """Graph wants us to wait; as an outcome, for longer than the deadline allows."""


class GraphFailed(GraphError):
    """Graph or the identity is failing or unreachable, or answers what is of no use."""


class GraphTimeout(GraphFailed):
    """No answer came in time."""
