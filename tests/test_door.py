"""door.py: a principal counts only where the platform vouches for it, and only with the role."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprocess_http.door import Forbidden, Unauthorized, caller, workflow_run

APP = "11111111-1111-4111-8111-111111111111"
USER = "22222222-2222-4222-8222-222222222222"
ON = {"WEBSITE_AUTH_ENABLED": "True"}
ROLE = "Requests.Reprocess"
LONG = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def principal(*claims, **more):
    """The principal as App Service writes it."""
    listed = [{"typ": name, "val": value} for name, value in claims]
    whole = {"auth_typ": "aad", "claims": listed, "name_typ": "name", "role_typ": LONG} | more
    return header(json.dumps(whole))


def header(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return {"x-ms-client-principal": base64.b64encode(raw).decode()}


@pytest.mark.parametrize("roles", ["roles", LONG, "custom/role"])
@pytest.mark.parametrize("application", ["appid", "azp"])
def test_an_application_with_the_role_gets_in(roles, application):
    """The role may be listed under each of three names, the application under two."""
    given = principal(
        (application, APP.upper()), (OID, USER), (roles, ROLE), role_typ="custom/role"
    )

    assert f"application {APP}" == caller(given, "anonymous", ON)


def test_a_user_with_the_role_gets_in():
    """A token with a scope is a user's, through an application."""
    given = principal(("appid", APP), (OID, USER), ("scp", "user_impersonation"), ("roles", ROLE))

    assert f"user {USER} through application {APP}" == caller(given, "anonymous", ON)


def test_an_app_token_is_never_taken_for_a_user():
    """`idtyp` says so."""
    given = principal(("azp", APP), ("oid", USER), ("idtyp", "app"), ("scp", "x"), ("roles", ROLE))

    assert f"application {APP}" == caller(given, "anonymous", ON)


@pytest.mark.parametrize(
    "environ", [{}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}]
)
def test_a_principal_is_worth_nothing_where_the_platform_does_not_vouch_for_it(environ):
    """With App Service authentication off anybody can send the header."""
    with pytest.raises(Unauthorized):
        caller(principal(("appid", APP), ("roles", ROLE)), "anonymous", environ)


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

    assert f"application {APP}" == caught.value.caller


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
    ids=lambda headers: str(headers)[:60],
)
def test_no_valid_principal_is_unauthorized(headers):
    """Missing, huge, malformed, given twice, of another provider, or of nobody."""
    with pytest.raises(Unauthorized):
        caller(headers, "anonymous", ON)


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
        ("", None),
        ("x" * 101, None),
        ('1"}\n{"event": "forged', None),
    ],
)
def test_a_run_id_is_logged_only_when_it_looks_like_one(given, kept):
    """What a caller sends along cannot forge a log line."""
    assert kept == workflow_run({"x-ms-workflow-run-id": given})
