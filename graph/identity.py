"""The managed identity: its token for Graph, and what the token says of it.

Not for: Graph itself. The token is given to http.py and goes nowhere else.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from azure.core.exceptions import AzureError
from azure.identity import ManagedIdentityCredential

from deadline import TookTooLong, bounded
from graph.errors import GraphDenied, GraphFailed, GraphTimeout
from settings import is_guid

if TYPE_CHECKING:
    from deadline import Deadline

SILENCE = 5.0  # seconds without a byte from the identity's endpoint
# Asking for any claim at all makes azure-identity pass over its cached token.
RENEW = '{"access_token":{}}'

# These log every token taken from the cache, in several lines; the app's own lines say enough.
for _noisy in ("azure.identity", "azure.core"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)


class Credential(Protocol):
    """What azure-identity's credentials have in common; a test can bring its own."""

    def get_token(self, scope: str, **options: str) -> Any:  # noqa: ANN401 - as azure-core has it
        """Return an object with `token`."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says: the identity's object id and app roles; None where it cannot be read."""

    object_id: str | None = None
    roles: tuple[str, ...] | None = None


class ManagedIdentity:
    """One identity, whose token azure-identity caches and refreshes."""

    def __init__(
        self, scope: str, client_id: str | None, credential: Credential | None = None
    ) -> None:
        """Prepare; nothing is asked yet. Without `client_id` it is the system-assigned one."""
        self._scope = scope
        self._client_id = client_id
        self._given = credential
        self._answered = threading.local()
        self._credential: Credential = credential or self._managed()
        self.claims = TokenClaims()

    def token(self, deadline: Deadline, *, renew: bool = False) -> str:
        """Return a token, with `renew` not the cached one. Raises GraphDenied, GraphFailed."""
        try:
            token = bounded(max(deadline.left(), 0.001), lambda: self._token(renew=renew))
        except TookTooLong as error:
            raise GraphTimeout(
                "the managed identity's endpoint gave no answer in time, so there is no token for "
                "Graph"
            ) from error
        self.claims = claims_of(token)
        return token

    def _managed(self) -> Credential:
        return ManagedIdentityCredential(
            client_id=self._client_id,
            retry_total=0,  # http.py tries again, within the caller's deadline
            connection_timeout=SILENCE,
            read_timeout=SILENCE,
            raw_response_hook=self._keep_status,
        )

    def _keep_status(self, response: Any) -> None:  # noqa: ANN401 - as azure-core hands it over
        """Keep the endpoint's status: azure-identity's error does not tell it."""
        self._answered.status = response.http_response.status_code

    def _token(self, *, renew: bool) -> str:
        self._answered.status = None
        try:
            options = {"claims": RENEW} if renew else {}
            return str(self._credential.get_token(self._scope, **options).token)
        except AzureError as error:
            status = self._answered.status
            # msal keeps a failure for a minute; the next try is to be a real one.
            self._credential = self._given or self._managed()
            if status is not None and 400 <= status < 500 and status not in {404, 408, 410, 429}:
                raise GraphDenied(
                    f"the managed identity was refused a token (HTTP {status})"
                ) from error
            what = f"answered HTTP {status}" if status else "did not answer"
            raise GraphFailed(
                f"the managed identity's endpoint {what}, so there is no token for Graph"
            ) from error
        except Exception as error:  # azure-identity lets malformed answers escape as they come
            raise GraphFailed("the managed identity's endpoint answered no usable token") from error


def claims_of(token: str) -> TokenClaims:
    """Read a token's claims, unverified: they only help to word a remedy; Graph decides."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=="))
    except (IndexError, ValueError, RecursionError):
        return TokenClaims()
    if not isinstance(claims, dict):
        return TokenClaims()
    object_id, roles = claims.get("oid"), claims.get("roles") or []
    return TokenClaims(
        object_id if isinstance(object_id, str) and is_guid(object_id) else None,
        tuple(str(role) for role in roles) if isinstance(roles, list) else None,
    )
