"""auth.py: a principal counts only where the platform vouches for it, and only with the role."""

import base64
import hmac
import json

import pytest

import settings as app_settings
from reprocess_http import auth, status_link
from reprocess_http.auth import Caller, reject_cross_site
from reprocess_http.responses import Problem
from tests.support.http_calls import APP, LONG, OID, ROLE, USER, hub, principal
from tests.support.http_calls import principal_header as header

ON = {"WEBSITE_AUTH_ENABLED": "True"}
UNKNOWN = "^The caller could not be identified.$"
NOT_ALLOWED = "^The caller is known but may not do this.$"
GOOD = principal(("appid", APP), ("roles", ROLE))


def caller(headers, level, environ):
    return auth.authenticate(headers, level, environ).name


def refused(reason, call, *given):
    """The caller is told nothing; the log has the reason."""
    with pytest.raises(Problem, match=UNKNOWN) as caught:
        call(*given)
    assert ("unauthorized", reason) == (caught.value.name, caught.value.reason)


WITH_ROLE = ("roles", ROLE)


@pytest.mark.parametrize(("claims", "name"), [
    *(([(kind, APP), (OID, USER), (roles, ROLE)], f"application {APP}") for kind in ("appid", "azp") for roles in ("roles", LONG)),
    ([("azp", APP), ("oid", USER), ("idtyp", "app"), ("scp", "x"), WITH_ROLE], f"application {APP}"),  # not a user
    ([("scp", "x"), WITH_ROLE, (OID, "B" + USER[1:]), ("appid", "A" + APP[1:])], f"user b{USER[1:]} through application a{APP[1:]}"),
    ([("scp", "x"), WITH_ROLE, (OID, USER)], f"user {USER}"),
    ([("scp", "x"), WITH_ROLE, ("oid", USER)], f"user {USER}"),
])  # fmt: skip
def test_who_has_the_role_gets_in(claims, name):
    """A token with a scope is a user's. Ids are told in lower case, so that a search of the log finds them."""
    assert name == caller(principal(*claims), "anonymous", ON)


@pytest.mark.parametrize("on", ["True", "true ", "TRUE", "1"])
def test_a_principal_counts_where_the_platform_vouches_for_it(on):
    """However it writes that authentication is on."""
    assert f"application {APP}" == caller(GOOD, "anonymous", {"WEBSITE_AUTH_ENABLED": on})


@pytest.mark.parametrize("off", [{}, *({"WEBSITE_AUTH_ENABLED": text} for text in ("False", ""))])
def test_a_principal_is_worth_nothing_where_the_platform_does_not_vouch_for_it(off):
    """With App Service authentication off anybody can send the header."""
    refused("the platform's authentication is not on", caller, GOOD, "anonymous", off)


@pytest.mark.parametrize("claims", [
    (), *((one,) for one in (("roles", "Other"), ("roles", ROLE.lower()), ("roles", f"Other,{ROLE}"), ("roles", f"{ROLE} "))),
    *(((name, ROLE),) for name in ("groups", "scp", "role", "wids", "Roles", "name", "appid", "")),
])  # fmt: skip
def test_known_without_the_role_is_forbidden(claims):
    """The role in another claim, or nearly the role, is not the role.

    Whatever the principal says of where its roles are: a display name is chosen freely.
    """
    more = {"role_typ": claims[0][0]} if claims else {}
    with pytest.raises(Problem, match=NOT_ALLOWED) as caught:
        caller(principal(("appid", APP), *claims, **more), "anonymous", ON)

    found = caught.value.name, caught.value.caller, caught.value.reason
    assert ("forbidden", f"application {APP}", "the caller lacks CALLER_ROLE") == found


@pytest.mark.parametrize(("role", "setting"), [("Mine", "Mine"), (ROLE, "")])
def test_the_role_is_a_setting(role, setting):
    """`CALLER_ROLE`, or its default where it is emptied. Where it is wrong, not even that gets in."""
    mine = principal(("appid", APP), ("roles", role))
    assert caller(mine, "anonymous", ON | {"CALLER_ROLE": setting})
    with pytest.raises(Problem, match=NOT_ALLOWED):
        caller(GOOD, "anonymous", ON | {"CALLER_ROLE": "a b"})


NONE, UNREADABLE = "there is no principal", "the principal cannot be read"
OTHER = "the principal is not one of Microsoft Entra"
NOBODY = "the principal names neither an application nor a user"
NO_LIST, TEXT = "the principal has no list of claims", GOOD["x-ms-client-principal"]


@pytest.mark.parametrize(("headers", "reason"), [
    ({}, NONE), ({"x-ms-client-principal": ""}, NONE),
    ({"x-ms-client-principal-id": APP, "x-ms-client-principal-name": "me"}, NONE),
    *(({"x-ms-client-principal": one}, UNREADABLE) for one in ("no base64!", f"{TEXT},{TEXT}", TEXT[:-5], "é", "A" * 65540)),
    *((header(one), UNREADABLE) for one in ("[" * 40000, '{"auth_typ": "aad", "claims": [], "claims": []}', b"\xff")),
    *((header(one), OTHER) for one in ("[]", "null")),
    *((principal(("appid", APP), WITH_ROLE, auth_typ=one), OTHER) for one in ("github", None)),
    *((header(json.dumps({"auth_typ": "aad"} | one)), NO_LIST) for one in ({}, {"claims": {"roles": ROLE}})),
    *((principal(*one, WITH_ROLE), NOBODY) for one in ((), [("appid", "me")], [("appid", 1)])),
    (principal(claims=[1, {}, {"typ": [], "val": "x"}, {"typ": "appid"}]), NOBODY),
])  # fmt: skip
def test_no_valid_principal_is_unauthorized(headers, reason):
    """Missing, huge, malformed, given twice, of another provider, or of nobody.

    Of any other bytes tests/fuzz/callers.py asks the same.
    """
    refused(reason, caller, headers, "anonymous", ON)


def test_under_function_the_host_has_checked_the_key():
    """A principal header says nothing there."""
    assert "function key" == caller(principal(("appid", APP)), "function", {})


# -- webhooks and links --

BODY, SECRET = b"{}", "a-secret-of-twenty-four-bytes"


@pytest.mark.parametrize("level", ["function", "anonymous"])
def test_a_webhook_is_known_by_its_signature(configured, level):
    """By whichever secret; it is as old as its time says, by the clock that is given."""
    configured(WEBHOOK_SECRETS=f"newest-secret-of-24-bytes,{SECRET}")
    signed = base64.b64encode(hmac.digest(SECRET.encode(), b"m.1000." + BODY, "sha256")).decode()
    given = {"webhook-id": "m", "webhook-timestamp": "1000", "webhook-signature": f"v1,{signed}"}

    assert Caller("webhook secret 2") == auth.verify_webhook(given, BODY, 1300, level)
    late = "webhook-timestamp is too far from now"
    refused(late, auth.verify_webhook, given, BODY, 1301, level)
    refused("the signature does not fit any secret", auth.verify_webhook, given, b"[]", 1300, level)


def test_without_secrets_only_the_key_opens_the_webhook(configured):
    """Under `anonymous` nobody gets in."""
    assert Caller("function key") == auth.verify_webhook({}, BODY, 0, "function")
    refused("there are no WEBHOOK_SECRETS", auth.verify_webhook, {}, BODY, 0, "anonymous")


def test_wrong_settings_are_told_only_to_who_is_known(configured):
    """The key is known to be right under `function`; a signature or a link cannot be checked."""
    configured(GRAPH_CLOUD="mars")

    with pytest.raises(app_settings.SettingsError) as caught:
        auth.verify_webhook({}, BODY, 0, "function")
    wrong = str(caught.value)
    refused(f"settings are wrong: {wrong}", auth.verify_webhook, {}, BODY, 0, "anonymous")
    refused(wrong, auth.verify_status_link, "https://app.example/api/status", 0)


def test_a_link_names_its_request_and_when_it_expires(configured):
    """So that polling does not prolong it."""
    secret = "0123456789abcdef0123456789abcdef"
    configured(STATUS_LINK_SECRET=secret)
    query = status_link.query(secret, APP, None, 1_800_000_000)
    url = f"https://app.example/api/status?{query}&wait=1"

    link = Caller("status link", APP, 1_800_000_000)
    assert link == auth.verify_status_link(url, 1_700_000_000)
    refused("the link has expired", auth.verify_status_link, url, 1_800_000_000)


def test_a_signed_body_that_came_empty_is_named(configured):
    """The host hands on no body that is sent in chunks; one that is signed as empty is fine.

    [seen: azure-functions-host#7930]
    """
    configured(WEBHOOK_SECRETS=SECRET)
    assert Caller("webhook secret 1") == auth.verify_webhook(hub(b"", SECRET), b"", 0, "function")

    signed, empty = hub(BODY, SECRET), "the signature does not fit any secret; the body came empty"
    refused(empty, auth.verify_webhook, signed, b"", 0, "function")
    chunked = f"{empty}: sent with transfer-encoding: chunked, it does not arrive"
    signed["transfer-encoding"] = "Chunked"
    refused(chunked, auth.verify_webhook, signed, b"", 0, "function")


# -- pages of other sites --

KEY, SITE = Caller("function key"), "sec-fetch-site"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site ", "SAME-SITE"])
def test_a_page_of_another_site_changes_nothing(site):
    """The caller is known, so it is 403; the reason is for the log."""
    with pytest.raises(Problem, match=NOT_ALLOWED) as caught:
        reject_cross_site({SITE: site}, KEY)

    reason = f"the call comes from another site's page ({site.strip().lower()})"
    assert (reason, "function key") == (caught.value.reason, caught.value.caller)


@pytest.mark.parametrize("headers", [{}, *({SITE: one} for one in ("same-origin", "none", "new"))])
def test_programs_and_our_own_page_may(headers):
    """They send nothing, or that they are of our own origin; an unknown value says nothing."""
    assert KEY == reject_cross_site(headers, KEY)
