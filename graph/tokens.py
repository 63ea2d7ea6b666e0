"""The managed identity's token for Graph, and what the token says of the identity.

Not for: sending it. client.py sends it to the Graph root and nowhere else.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ManagedIdentityCredential

from graph.outcome import GraphDenied, GraphError, GraphFailed, GraphTimeout
from session import bounded_by
from settings import Settings, is_guid

if TYPE_CHECKING:
    import requests
    from azure.core.credentials import TokenCredential

    from deadline import Deadline

SILENCE_SECONDS = 5.0  # without a byte from the identity endpoint
# Asking for any claim makes azure-identity pass over its cached token.
RENEW = '{"access_token":{}}'
# Azure's page on the endpoint lists 404, 408, 410, 429 and 5xx as passing.
REFUSED = frozenset({400, 401, 403})


class TokenClaims(NamedTuple):
    """What a token says: the identity's object id and app roles; None where it cannot be read."""

    object_id: str | None = None
    roles: tuple[str, ...] | None = None


class Tokens:
    """Tokens of one identity; azure-identity caches and refreshes them."""

    def __init__(
        self, settings: Settings, session: requests.Session, credential: TokenCredential | None
    ) -> None:
        """Prepare; nothing is asked for yet. `credential` stands in for the managed identity."""
        self._settings = settings
        self._session = session
        self._given = credential
        self._answered = threading.local()
        self._credential = credential or self._managed_identity()
        self.claims = TokenClaims()  # of the last token

    def get(self, deadline: Deadline, *, renew: bool = False) -> str:
        """Return a token, with `renew` not the cached one.

        Raises GraphDenied, GraphFailed, GraphTimeout.
        """
        if not deadline.left():
            raise GraphTimeout("no time was left to send this call")
        self._answered.status = None
        claims = RENEW if renew else None
        try:
            with bounded_by(deadline):
                token = self._credential.get_token(self._settings.token_scope, claims=claims).token
        except AzureError as error:
            # msal keeps a failed answer for a minute; a new credential has kept none.
            self._credential = self._given or self._managed_identity()
            raise _failure(self._answered.status, deadline) from error
        except Exception as error:  # azure-identity lets malformed answers escape as they come
            detail = "the managed identity's endpoint answered no usable token"
            raise GraphFailed(detail) from error
        self.claims = claims_of(token)
        return token

    def _managed_identity(self) -> TokenCredential:
        silence = {"connection_timeout": SILENCE_SECONDS, "read_timeout": SILENCE_SECONDS}
        transport = RequestsTransport(session=self._session, session_owner=False, **silence)
        return ManagedIdentityCredential(
            client_id=self._settings.azure_client_id,
            transport=transport,
            retry_total=0,  # client.py retries, within the caller's deadline
            raw_response_hook=self._keep_status,
        )

    def _keep_status(self, response: Any) -> None:  # noqa: ANN401 - as azure-core hands it over
        """Keep the endpoint's status, which azure-identity's error does not have."""
        self._answered.status = response.http_response.status_code


def _failure(status: int | None, deadline: Deadline) -> GraphError:
    """Return what a failure of the identity endpoint means; in each case nothing was sent."""
    if status in REFUSED:
        return GraphDenied(f"the managed identity was refused a token (HTTP {status})")
    what = f"answered HTTP {status}" if status else "did not answer"
    kind = GraphFailed if deadline.left() else GraphTimeout
    return kind(f"the managed identity's endpoint {what}, so there is no token for Graph")


def claims_of(token: str) -> TokenClaims:
    """Read a token's claims, unverified: they only help to word a remedy; Graph decides."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        object_id, roles = claims.get("oid"), claims.get("roles") or []
    except (AttributeError, IndexError, ValueError, RecursionError):
        return TokenClaims()
    return TokenClaims(
        object_id if isinstance(object_id, str) and is_guid(object_id) else None,
        tuple(str(role) for role in roles) if isinstance(roles, list) else None,
    )
