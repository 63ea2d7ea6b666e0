"""The door: who is calling, found out before anything is called and before any input is looked at.

Not for: checking function keys, which the Functions host does; nor for telling a caller why not.
What is refused has its reason in the log, never in the answer.

Under `anonymous` App Service authentication stands in front and says who calls in the header
X-MS-CLIENT-PRINCIPAL, https://learn.microsoft.com/azure/app-service/
configure-authentication-user-identities. It keeps callers from setting that header themselves only
while it is on, so the header counts only where the platform says so (`WEBSITE_AUTH_ENABLED`).
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import settings as app_settings
from reprocess_http import signatures, status_link, strict_json
from reprocess_http.problems import Forbidden, Unauthorized
from settings import SettingsError, is_guid

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVEL = app_settings.auth_level()  # what the host is told, and goes by, from now on

PRINCIPAL = "x-ms-client-principal"
LONGEST_PRINCIPAL = 65536  # characters
# Claims are listed by the names of the token, or by the long ones that .NET maps them to.
_SCHEMAS = "http://schemas.microsoft.com"
ROLES = {"roles", f"{_SCHEMAS}/ws/2008/06/identity/claims/role"}
APPLICATION = ("appid", "azp")
USER = ("oid", f"{_SCHEMAS}/identity/claims/objectidentifier")
SCOPES = ("scp", f"{_SCHEMAS}/identity/claims/scope")  # only a token for a user has scopes

SITE, OTHER_SITES = "sec-fetch-site", {"cross-site", "same-site"}

# Logic Apps and Power Automate send it along with every call that a workflow makes.
WORKFLOW_RUN = "x-ms-workflow-run-id"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling; `link_expires` when it is by a status link (seconds since 1970)."""

    name: str
    link_expires: int | None = None


def caller(
    headers: Mapping[str, str], level: str, environ: Mapping[str, str] = os.environ
) -> Caller:
    """Return who is calling. Raises Unauthorized, Forbidden.

    `level` is what the host was told at load: under `function` it has checked the key.
    """
    if level == "function":
        return Caller("function key")
    if environ.get("WEBSITE_AUTH_ENABLED", "").strip().lower() not in {"true", "1"}:
        raise Unauthorized(reason="the platform's authentication is not on")
    principal = _principal(headers.get(PRINCIPAL))
    who = _who(principal)
    role = app_settings.caller_role(environ)
    if role is None or role not in _values(principal, ROLES | _own_role_claim(principal)):
        raise Forbidden(reason="the caller lacks CALLER_ROLE", caller=who)
    return Caller(who)


def webhook(headers: Mapping[str, str], body: bytes, now: float, level: str) -> Caller:
    """Return which secret signed this body; without secrets, only a function key gets in.

    `now` is in seconds since 1970. Raises Unauthorized; SettingsError only under `function`, where
    the caller is known already.
    """
    try:
        secrets = app_settings.current().webhook_secrets
    except SettingsError as error:
        if level == "function":
            raise
        raise Unauthorized(reason=f"settings are wrong: {error}") from error
    if not secrets:
        if level == "function":
            return Caller("function key")
        raise Unauthorized(reason="there are no WEBHOOK_SECRETS")
    try:
        position = signatures.verify(headers, body, secrets, now)
    except signatures.InvalidSignature as error:
        raise Unauthorized(reason=str(error)) from error
    return Caller(f"webhook secret {position}")


def link(request_id: str, given: Mapping[str, str], now: float) -> Caller:
    """Return when the status link that was called expires. Raises Unauthorized.

    `given` are the query parameters; `now` is in seconds since 1970.
    """
    try:
        secret = app_settings.current().status_link_secret
        expires = status_link.verify(secret, request_id, given, now)
    except (SettingsError, status_link.InvalidLink) as error:
        raise Unauthorized(reason=str(error)) from error
    return Caller("status link", expires)


def not_from_another_site(headers: Mapping[str, str], caller: Caller) -> Caller:
    """Return the caller of what changes something. Raises Forbidden.

    A browser says truly where a call comes from (https://www.w3.org/TR/fetch-metadata/), and sends
    along what it holds for us. Programs send no such header; an unknown value says nothing.
    """
    site = headers.get(SITE, "").strip().lower()
    if site in OTHER_SITES:
        reason = f"the call comes from another site's page ({site})"
        raise Forbidden(reason=reason, caller=caller.name)
    return caller


def workflow_run(headers: Mapping[str, str]) -> str | None:
    """Return the run id of the workflow that calls, when it came along and looks like one."""
    run = headers.get(WORKFLOW_RUN, "")
    return run if re.fullmatch(r"[0-9A-Za-z_-]{1,100}", run) else None


def _principal(header: str | None) -> dict[str, Any]:
    """Decode the header. Raises Unauthorized.

    Only Microsoft Entra (`aad`) counts: another provider's roles would be somebody else's.
    """
    if not header or len(header) > LONGEST_PRINCIPAL:
        raise Unauthorized(reason="there is no principal")
    try:
        principal = strict_json.loads(base64.b64decode(header, validate=True))
    except ValueError as error:
        raise Unauthorized(reason="the principal cannot be read") from error
    if (
        not isinstance(principal, dict)
        or principal.get("auth_typ") != "aad"
        or not isinstance(principal.get("claims"), list)
    ):
        raise Unauthorized(reason="the principal is not one of Microsoft Entra")
    return principal


def _who(principal: dict[str, Any]) -> str:
    """Return the application or the user by id. Raises Unauthorized when there is neither."""
    application = _id(principal, APPLICATION)
    user = _id(principal, USER)
    for_user = _values(principal, set(SCOPES)) and "app" not in _values(principal, {"idtyp"})
    if user and (for_user or not application):
        return f"user {user}" + (f" through application {application}" if application else "")
    if application:
        return f"application {application}"
    raise Unauthorized(reason="the principal names neither an application nor a user")


def _id(principal: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((v.lower() for v in _values(principal, set(names)) if is_guid(v)), "")


def _own_role_claim(principal: dict[str, Any]) -> set[str]:
    """Return the claim type that the principal itself says roles are listed under.

    The platform writes it, so it counts; but only a name that ends in `role` or `roles`, so that
    nothing a caller may choose for itself, as a display name, can pass for a role.
    """
    name = principal.get("role_typ")
    fits = isinstance(name, str) and re.fullmatch(r"(.*[/:])?roles?", name, re.IGNORECASE)
    return {str(name)} if fits else set()


def _values(principal: dict[str, Any], types: set[str]) -> list[str]:
    """Return the values of all claims of these types; what is no claim is left out."""
    return [
        claim["val"]
        for claim in principal["claims"]
        if isinstance(claim, dict)
        and isinstance(claim.get("typ"), str)
        and claim["typ"] in types
        and isinstance(claim.get("val"), str)
    ]
