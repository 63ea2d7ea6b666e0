"""Who is calling: found out before any other input is looked at, and before anything is called.

Not for: checking function keys, which the Functions host does. Why a caller is refused is in the
log, never in the answer.

Under `anonymous`, App Service authentication stands in front and says who calls in the header
X-MS-CLIENT-PRINCIPAL, https://learn.microsoft.com/azure/app-service/
configure-authentication-user-identities. It keeps callers from setting that header themselves only
while it is on, so the header counts only where the platform says so (`WEBSITE_AUTH_ENABLED`).
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import settings as app_settings
from reprocess_http import signatures, status_link
from reprocess_http.parameters import load_json, query_pairs
from reprocess_http.responses import Problem
from settings import SettingsError, is_guid

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVEL = app_settings.auth_level()  # as the host is told when it loads the app

PRINCIPAL = "x-ms-client-principal"
# Claims are listed by the names of the token, or by the long ones that .NET maps them to.
_SCHEMAS = "http://schemas.microsoft.com"
ROLES = {"roles", f"{_SCHEMAS}/ws/2008/06/identity/claims/role"}
APPLICATION = {"appid", "azp"}
USER = {"oid", f"{_SCHEMAS}/identity/claims/objectidentifier"}
SCOPES = {"scp", f"{_SCHEMAS}/identity/claims/scope"}  # only a token for a user has scopes

SITE, OTHER_SITES = "sec-fetch-site", {"cross-site", "same-site"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. Of a status link: its request id, and when it expires (Unix seconds)."""

    name: str
    link_request_id: str = ""
    link_expires: int | None = None


def authenticate(
    headers: Mapping[str, str], level: str, environ: Mapping[str, str] = os.environ
) -> Caller:
    """Return who is calling. Raises Problem (unauthorized, forbidden).

    `level` is what the host was told at load: under `function` it has checked the key.
    """
    if level == "function":
        return Caller("function key")
    if not platform_authenticates(environ):
        raise _unauthorized("the platform's authentication is not on")
    principal = _principal(headers.get(PRINCIPAL))
    name = _caller_name(principal)
    role = app_settings.caller_role(environ)
    if role is None or role not in _values(principal, ROLES):
        raise _forbidden("the caller lacks CALLER_ROLE", name)
    return Caller(name)


def platform_authenticates(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether App Service authentication stands in front of the app."""
    return environ.get("WEBSITE_AUTH_ENABLED", "").strip().lower() in {"true", "1"}


def verify_webhook(headers: Mapping[str, str], body: bytes, now: float, level: str) -> Caller:
    """Return which secret signed this body; without secrets, only a function key gets in.

    `now` is in seconds since 1970. Raises Problem (unauthorized); SettingsError only under
    `function`, where the caller is known already.
    """
    try:
        secrets = app_settings.current().webhook_secrets
    except SettingsError as error:
        if level == "function":
            raise
        raise _unauthorized(f"settings are wrong: {error}") from error
    if not secrets:
        if level == "function":
            return Caller("function key")
        raise _unauthorized("there are no WEBHOOK_SECRETS")
    try:
        position = signatures.verify(headers, body, secrets, now)
    except signatures.InvalidSignature as error:
        empty = "" if body else f"; {explain_empty_body(headers)}"
        raise _unauthorized(f"{error}{empty}") from error
    return Caller(f"webhook secret {position}")


def explain_empty_body(headers: Mapping[str, str]) -> str:
    """Say that a body came empty; the Functions host hands on none that is sent in chunks."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return "the body came empty: sent with transfer-encoding: chunked, it does not arrive"
    return "the body came empty"


def verify_status_link(url: str, now: float) -> Caller:
    """Return the request id of a status link, and when it expires. Raises Problem (unauthorized).

    `now` is in seconds since 1970.
    """
    try:
        secret = app_settings.current().status_link_secret
        request_id, expires = status_link.verify(secret, query_pairs(url), now)
    except (SettingsError, status_link.InvalidLink) as error:
        raise _unauthorized(str(error)) from error
    return Caller("status link", request_id, expires)


def reject_cross_site(headers: Mapping[str, str], caller: Caller) -> Caller:
    """Return the caller of a route that changes something. Raises Problem (forbidden).

    A browser says truly where a call comes from (https://www.w3.org/TR/fetch-metadata/), and sends
    along the credentials that it holds for us. Programs send no such header.
    """
    site = headers.get(SITE, "").strip().lower()
    if site in OTHER_SITES:
        raise _forbidden(f"the call comes from another site's page ({site})", caller.name)
    return caller


def _unauthorized(reason: str) -> Problem:
    return Problem("unauthorized", reason=reason)


def _forbidden(reason: str, caller: str) -> Problem:
    return Problem("forbidden", reason=reason, caller=caller)


def _principal(header: str | None) -> dict[str, Any]:
    """Decode the header. Raises Problem.

    Only Microsoft Entra (`aad`) counts: another provider's roles are not this tenant's.
    """
    if not header:
        raise _unauthorized("there is no principal")
    try:
        principal = load_json(base64.b64decode(header, validate=True))
    except ValueError as error:
        raise _unauthorized("the principal cannot be read") from error
    if not isinstance(principal, dict) or principal.get("auth_typ") != "aad":
        raise _unauthorized("the principal is not one of Microsoft Entra")
    if not isinstance(principal.get("claims"), list):
        raise _unauthorized("the principal has no list of claims")
    return principal


def _caller_name(principal: dict[str, Any]) -> str:
    """Return the application or the user by id. Raises Problem when there is neither."""
    application = _id(principal, APPLICATION)
    user = _id(principal, USER)
    for_user = _values(principal, SCOPES) and "app" not in _values(principal, {"idtyp"})
    if user and (for_user or not application):
        return f"user {user}" + (f" through application {application}" if application else "")
    if application:
        return f"application {application}"
    raise _unauthorized("the principal names neither an application nor a user")


def _id(principal: dict[str, Any], types: set[str]) -> str:
    return next((one.lower() for one in _values(principal, types) if is_guid(one)), "")


def _values(principal: dict[str, Any], types: set[str]) -> list[str]:
    """Return the values of all claims of these types; malformed claims are left out."""
    found = []
    for claim in principal["claims"]:
        match claim:
            case {"typ": str(name), "val": str(value)} if name in types:
                found.append(value)
    return found
