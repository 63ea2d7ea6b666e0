"""The managed-identity endpoint of App Service, and the tokens that the emulated Graph accepts.

For: azure-identity's ManagedIdentityCredential with IDENTITY_ENDPOINT and IDENTITY_HEADER set.
Not for: Entra itself. Tokens are signed with a key made for this process, worth nothing elsewhere.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

API_VERSION = "2019-08-01"
SYSTEM_CLIENT_ID = "6f0b1c1e-9a0e-4d0a-8a34-2f4f6a0c1d01"
TENANT_ID = "aaaabbbb-0000-cccc-1111-dddd2222eeee"


class TokenRefused(Exception):
    """A missing or bad token; the text is what Graph says."""


@dataclass(slots=True)
class Identity:
    """Who may ask for tokens, and how they are made and checked.

    header_secret: what X-IDENTITY-HEADER must be.
    user_assigned: client ids besides the system-assigned one.
    audience: root of the emulated cloud; tokens may have a trailing slash more.
    """

    header_secret: str = "local-identity-header"
    user_assigned: frozenset[str] = frozenset()
    audience: str = "https://graph.microsoft.com"
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    last_good: tuple[str, dict[str, Any]] = field(default=("", {}), repr=False)

    def issue(
        self,
        resource: str,
        roles: Iterable[str],
        seconds: float,
        now: datetime,
        client_id: str = SYSTEM_CLIENT_ID,
    ) -> tuple[str, int]:
        """Return a token and when it ends.

        The roles are those of now; a later change needs a new token, as in Entra.
        """
        start = int(now.timestamp())
        end = int(now.timestamp() + seconds)
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{TENANT_ID}/",
            "iat": start,
            "nbf": start,
            "exp": end,
            "appid": client_id,
            "idtyp": "app",
            "oid": str(uuid.uuid5(uuid.UUID(TENANT_ID), client_id)),
            "tid": TENANT_ID,
            "roles": list(roles),
        }
        return jwt.encode(claims, self.key, algorithm="HS256"), end

    def check(self, authorization: str | None, now: datetime) -> dict[str, Any]:
        """Return the claims of a valid bearer token, or raise TokenRefused."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("Access token is empty.")
        claims = self._claims(token.strip())
        if not claims["nbf"] - 300 <= now.timestamp() < claims["exp"]:
            raise TokenRefused("Lifetime validation failed, the token is expired.")
        if str(claims["aud"]).removesuffix("/") != self.audience.removesuffix("/"):
            raise TokenRefused("Access token validation failure. Invalid audience.")
        return claims

    def _claims(self, token: str) -> dict[str, Any]:
        # One caller sends the same token thousands of times; only the signature's check is kept.
        if token == self.last_good[0]:
            return self.last_good[1]
        # Life and audience are checked on each call, by the emulator's clock.
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self.key,
                algorithms=["HS256"],
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "require": ["exp", "nbf", "aud"],
                },
            )
        except jwt.InvalidSignatureError:
            raise TokenRefused("Access token validation failure. Invalid signature.") from None
        except jwt.InvalidTokenError:
            raise TokenRefused("CompactToken parsing failed.") from None
        self.last_good = (token, claims)
        return claims

    def answer(
        self,
        query: Mapping[str, str],
        header: str | None,
        roles: Iterable[str],
        seconds: float,
        now: datetime,
        *,
        expires_on: str = "text",
    ) -> tuple[int, dict[str, str | int]]:
        """Return status and body for a call of the endpoint.

        `expires_on` is how the end of the token's life is told, as the switch expiresOn has it:
        seconds since 1970, of which App Service makes a text.
        The text for an unknown client id is the real one; the other refusals' texts are ours.
        """
        if header is None or not hmac.compare_digest(header.encode(), self.header_secret.encode()):
            return refusal(401, "X-IDENTITY-HEADER is missing or wrong.")
        if query.get("api-version") != API_VERSION:
            return refusal(400, f"The api-version must be {API_VERSION}.")
        resource = query.get("resource", "")
        if not resource.startswith("https://") or resource.endswith("/.default"):
            return refusal(
                400, "The resource must be an address such as https://graph.microsoft.com."
            )
        client_id = query.get("client_id")
        others = {"principal_id", "object_id", "mi_res_id"} & query.keys()
        if others or (client_id is not None and client_id.lower() not in self.user_assigned):
            return refusal(
                400,
                "No User Assigned or Delegated Managed Identity found for specified "
                "ClientId/ResourceId/PrincipalId.",
            )
        whose = client_id or SYSTEM_CLIENT_ID
        token, ends = self.issue(resource, roles, seconds, now, whose)
        forms: dict[str, str | int] = {"text": str(ends), "number": ends, "later": str(ends + 3600)}
        return 200, {
            "access_token": token,
            "expires_on": forms[expires_on],
            "resource": resource,
            "token_type": "Bearer",
            "client_id": whose,
        }


def refusal(status: int, message: str) -> tuple[int, dict[str, str | int]]:
    """Write an error as the identity endpoint does."""
    return status, {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}
