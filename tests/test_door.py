"""door.py: a principal counts only where the platform vouches for it, and only with the role."""

import base64
import hmac
import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

import settings as app_settings
from reprocess_http import door, status_link
from reprocess_http.door import Caller, not_from_another_site, workflow_run
from reprocess_http.problems import Forbidden, Unauthorized
from tests.calls import APP, LONG, OID, ROLE, USER, hub, principal
from tests.calls import principal_header as header

ON = {"WEBSITE_AUTH_ENABLED": "True"}


def caller(headers, level, environ):
    """Who is calling, by name."""
    return door.caller(headers, level, environ).name


@pytest.mark.parametrize("roles", ["roles", LONG, "custom/role", "custom:Roles"])
@pytest.mark.parametrize("application", ["appid", "azp"])
def test_an_application_with_the_role_gets_in(roles, application):
    """The role may be listed under each of these names, the application under two."""
    named = roles if roles.startswith("custom") else "custom/role"
    given = principal((application, APP.upper()), (OID, USER), (roles, ROLE), role_typ=named)

    assert f"application {APP}" == caller(given, "anonymous", ON)


def test_a_user_with_the_role_gets_in():
    """A token with a scope is a user's, through an application where it names one."""
    claims = [("scp", "user_impersonation"), ("roles", ROLE)]

    assert [f"user {USER} through application {APP}", *[f"user {USER}"] * 2] == [
        caller(principal(*claims, *who), "anonymous", ON)
        for who in ([(OID, USER), ("appid", APP)], [(OID, USER)], [("oid", USER)])
    ]


def test_ids_are_told_in_lower_case():
    """As everywhere, so that a search of the log finds them."""
    ids = [f"{letter}1111111-1111-4111-8111-111111111111" for letter in "AB"]
    given = principal(("appid", ids[0]), (OID, ids[1]), ("scp", "x"), ("roles", ROLE))

    wanted = f"user {ids[1].lower()} through application {ids[0].lower()}"
    assert wanted == caller(given, "anonymous", ON)


@pytest.mark.parametrize("on", ["True", "true ", "TRUE", "1"])
def test_a_principal_counts_where_the_platform_vouches_for_it(on):
    """However it writes that authentication is on."""
    given = principal(("appid", APP), ("roles", ROLE))

    assert f"application {APP}" == caller(given, "anonymous", {"WEBSITE_AUTH_ENABLED": on})


def test_an_app_token_is_never_taken_for_a_user():
    """`idtyp` says so."""
    given = principal(("azp", APP), ("oid", USER), ("idtyp", "app"), ("scp", "x"), ("roles", ROLE))

    assert f"application {APP}" == caller(given, "anonymous", ON)


@pytest.mark.parametrize(
    "environ", [{}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}]
)
def test_a_principal_is_worth_nothing_where_the_platform_does_not_vouch_for_it(environ):
    """With App Service authentication off anybody can send the header."""
    with pytest.raises(Unauthorized) as caught:
        caller(principal(("appid", APP), ("roles", ROLE)), "anonymous", environ)

    assert "the platform's authentication is not on" == caught.value.reason


@pytest.mark.parametrize(
    "claims",
    [
        (),
        (("roles", "Other"),),
        (("roles", ROLE.lower()),),
        (("roles", f"Other,{ROLE}"),),
        (("roles", f"{ROLE} "),),
        (("groups", ROLE),),
        (("scp", ROLE),),
        (("role", ROLE),),
        (("wids", ROLE),),
        (("Roles", ROLE),),
        (("name", ROLE),),
    ],
)
def test_known_without_the_role_is_forbidden(claims):
    """The role in another claim, or nearly the role, is not the role."""
    with pytest.raises(Forbidden) as caught:
        caller(principal(("appid", APP), *claims), "anonymous", ON)

    assert (f"application {APP}", "the caller lacks CALLER_ROLE") == (
        caught.value.caller,
        caught.value.reason,
    )


@pytest.mark.parametrize(
    ("role", "environ"), [("Mine", {"CALLER_ROLE": "Mine"}), (ROLE, {"CALLER_ROLE": ""})]
)
def test_the_role_is_a_setting(role, environ):
    """`CALLER_ROLE`, or its default where it is emptied."""
    assert caller(principal(("appid", APP), ("roles", role)), "anonymous", ON | environ)


def test_a_wrong_setting_closes_the_door():
    """Not even the default role gets in then."""
    with pytest.raises(Forbidden):
        caller(principal(("appid", APP), ("roles", ROLE)), "anonymous", ON | {"CALLER_ROLE": "a b"})


GOOD = principal(("appid", APP), ("roles", ROLE))["x-ms-client-principal"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ms-client-principal": ""},
        {"x-ms-client-principal": "no base64!"},
        {"x-ms-client-principal": f"{GOOD},{GOOD}"},
        {"x-ms-client-principal": GOOD[:-5]},
        {"x-ms-client-principal": "é"},
        {"x-ms-client-principal": "A" * 70000},
        {"x-ms-client-principal-id": APP, "x-ms-client-principal-name": "me"},
        header("[" * 40000),
        header('{"auth_typ": "aad", "claims": [], "claims": []}'),
        header("[]"),
        header("null"),
        header(b"\xff"),
        header('{"auth_typ": "aad"}'),
        header('{"auth_typ": "aad", "claims": {"roles": "Requests.Reprocess"}}'),
        principal(("roles", ROLE)),
        principal(("appid", "me"), ("roles", ROLE)),
        principal(("appid", 1), ("roles", ROLE)),
        principal(("appid", APP), ("roles", ROLE), auth_typ="github"),
        principal(("appid", APP), ("roles", ROLE), auth_typ=None),
    ],
)
def test_no_valid_principal_is_unauthorized(headers):
    """Missing, huge, malformed, given twice, of another provider, or of nobody."""
    with pytest.raises(Unauthorized):
        caller(headers, "anonymous", ON)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "there is no principal"),
        ({"x-ms-client-principal": "A" * 65540}, "there is no principal"),
        ({"x-ms-client-principal": "no base64!"}, "the principal cannot be read"),
        (header("[]"), "the principal is not one of Microsoft Entra"),
        (
            principal(("roles", ROLE)),
            "the principal names neither an application nor a user",
        ),
    ],
)
def test_the_reason_says_what_is_wrong_with_a_principal(headers, reason):
    """It is for the log; the caller is told none."""
    with pytest.raises(Unauthorized) as caught:
        caller(headers, "anonymous", ON)

    assert (reason, "The caller could not be identified.") == (
        caught.value.reason,
        caught.value.detail,
    )


def test_a_principal_is_as_long_as_64_kib_at_most():
    """At the limit it is read; what is longer is refused above."""
    claims = [{"typ": "appid", "val": APP}, {"typ": "roles", "val": ROLE}]
    text = json.dumps({"auth_typ": "aad", "claims": claims}).ljust(65536 * 3 // 4)
    given = header(text)

    assert 65536 == len(given["x-ms-client-principal"])
    assert f"application {APP}" == caller(given, "anonymous", ON)


@pytest.mark.parametrize("name", ["name", "appid", "roles_of_mine", "x/roles/name", ""])
def test_a_claim_that_is_no_role_cannot_pass_for_one(name):
    """Whatever the principal says of where its roles are: a display name is chosen freely."""
    claims = [("appid", APP)]
    with pytest.raises(Forbidden):
        caller(principal(*claims, (name, ROLE), role_typ=name), "anonymous", ON)


@pytest.mark.parametrize(
    "more", [{"role_typ": 1}, {"role_typ": None}, {"claims": [1, {"typ": []}, {}]}]
)
def test_odd_parts_of_a_principal_are_left_out(more):
    """They neither help nor break."""
    with pytest.raises((Unauthorized, Forbidden)):
        caller(principal(("appid", APP), **more), "anonymous", ON)


JSON = st.recursive(
    st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(JSON | st.fixed_dictionaries({"auth_typ": st.just("aad"), "claims": JSON, "role_typ": JSON}))
def test_nothing_made_up_gets_in_or_breaks(whole):
    """Any JSON."""
    with pytest.raises((Unauthorized, Forbidden)):
        caller(header(json.dumps(whole)), "anonymous", ON)


def test_under_function_the_host_has_checked_the_key():
    """A principal header says nothing there."""
    assert "function key" == caller(principal(("appid", APP)), "function", {})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("08586102636111028709571538887CU01", "08586102636111028709571538887CU01"),
        ("a-run_Z9", "a-run_Z9"),
        ("", None),
        ("x" * 101, None),
        ('1"}\n{"event": "forged', None),
    ],
)
def test_a_run_id_is_logged_only_when_it_looks_like_one(given, kept):
    """What a caller sends along cannot forge a log line."""
    assert kept == workflow_run({"x-ms-workflow-run-id": given})
    assert workflow_run({}) is None


# -- webhooks and links --

BODY, SECRET = b"{}", "a-secret-of-twenty-four-bytes"


@pytest.fixture(name="configured")
def _configured(monkeypatch):
    """The settings are these."""

    def configured(**environ):
        monkeypatch.setattr(app_settings, "current", lambda: app_settings.load(environ))

    return configured


@pytest.mark.parametrize("level", ["function", "anonymous"])
def test_a_webhook_is_known_by_its_signature(configured, level):
    """By whichever secret."""
    configured(WEBHOOK_SECRETS=f"newest-secret-of-24-bytes,{SECRET}")

    assert Caller("webhook secret 2") == door.webhook(hub(BODY, SECRET), BODY, 0, level)
    with pytest.raises(Unauthorized) as caught:
        door.webhook(hub(BODY, SECRET), b"[]", 0, level)
    assert "the signature does not fit any secret" == caught.value.reason


def test_a_webhook_is_as_old_as_its_time_says(configured):
    """By the clock that is given."""
    configured(WEBHOOK_SECRETS=SECRET)
    signed = base64.b64encode(hmac.digest(SECRET.encode(), b"m.1000." + BODY, "sha256")).decode()
    given = {
        "webhook-id": "m",
        "webhook-timestamp": "1000",
        "webhook-signature": f"v1,{signed}",
    }

    assert Caller("webhook secret 1") == door.webhook(given, BODY, 1300, "anonymous")
    with pytest.raises(Unauthorized) as caught:
        door.webhook(given, BODY, 1301, "anonymous")
    assert "webhook-timestamp is too far from now" == caught.value.reason


def test_without_secrets_only_the_key_opens_the_webhook(configured):
    """Under `anonymous` nobody gets in."""
    configured()

    assert Caller("function key") == door.webhook({}, BODY, 0, "function")
    with pytest.raises(Unauthorized) as caught:
        door.webhook({}, BODY, 0, "anonymous")
    assert "there are no WEBHOOK_SECRETS" == caught.value.reason


def test_wrong_settings_are_told_only_to_who_is_known(configured):
    """The key is known to be right under `function`; a signature or a link cannot be checked."""
    configured(GRAPH_CLOUD="mars")

    with pytest.raises(app_settings.SettingsError):
        door.webhook({}, BODY, 0, "function")
    for closed in (
        lambda: door.webhook({}, BODY, 0, "anonymous"),
        lambda: door.link("x", {}, 0),
    ):
        with pytest.raises(Unauthorized) as caught:
            closed()
        assert "The caller could not be identified." == caught.value.detail
        assert "GRAPH_CLOUD" in caught.value.reason


def test_a_link_tells_when_it_expires(configured):
    """So that polling does not prolong it."""
    secret = "0123456789abcdef0123456789abcdef"
    configured(STATUS_LINK_SECRET=secret)
    query = dict(parse_qsl(status_link.query(secret, APP, None, 1_800_000_000)))

    assert Caller("status link", 1_800_000_000) == door.link(APP, query, 1_700_000_000)
    with pytest.raises(Unauthorized) as caught:
        door.link(APP, query, 1_800_000_000)
    assert "the link has expired" == caught.value.reason


# -- pages of other sites --

KEY = Caller("function key")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site ", "SAME-SITE"])
def test_a_page_of_another_site_changes_nothing(site):
    """The caller is known, so it is 403; the reason is for the log."""
    with pytest.raises(Forbidden) as caught:
        not_from_another_site({"sec-fetch-site": site}, KEY)

    assert "The caller is known but may not do this." == caught.value.detail
    reason = f"the call comes from another site's page ({site.strip().lower()})"
    assert (reason, "function key") == (caught.value.reason, caught.value.caller)


@pytest.mark.parametrize(
    "headers", [{}, *({"sec-fetch-site": s} for s in ("same-origin", "none", "", "new"))]
)
def test_programs_and_our_own_page_may(headers):
    """They send nothing, or that they are of our own origin; an unknown value says nothing."""
    assert KEY == not_from_another_site(headers, KEY)
