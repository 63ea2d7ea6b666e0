"""`GET /api/diagnosis`: what is wrong is found, said and bounded, before anybody is hurt by it."""

from __future__ import annotations

import time

import pytest

from tests.calls import new
from tests.e2e.conftest import started
from tests.local_app import App, fresh


def findings(reply):
    return {one["name"]: one["result"] for one in reply.body["checks"]}


def check(reply, name):
    return next(one for one in reply.body["checks"] if one["name"] == name)


ALL = ["settings", "token", "permission", "graph", "attempts"]


@pytest.fixture(name="own")
def _own():
    """An app whose token is not cached yet."""
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *"}
    with App(settings=settings, graph_options=("--requests", "0")) as own:
        fresh(own)
        yield own


def test_all_is_well(app):
    """200, each with its time; nothing is changed in Graph."""
    reply = app.call("GET", "/api/diagnosis")

    assert (200, "ok", dict.fromkeys(ALL, "ok")) == (
        reply.status,
        reply.body["outcome"],
        findings(reply),
    )
    assert {"name", "result", "milliseconds", "detail"} == set(reply.body["checks"][0])
    assert {"outcome", "checks", "correlationId"} == set(reply.body)
    assert {"list", "token"} >= {e["operation"] for e in app.control("GET", "log")["log"]}


def test_a_read_only_permission_is_found_before_anybody_is_hurt(own):
    """Graph lists, so only the token's roles tell; the remedy is a command."""
    own.control("PATCH", "settings", {"roles": ["EntitlementManagement.Read.All"]})

    reply = own.call("GET", "/api/diagnosis")

    assert (503, "failed", dict.fromkeys(ALL, "ok") | {"permission": "failed"}) == (
        reply.status,
        reply.body["outcome"],
        findings(reply),
    )
    found = check(reply, "permission")
    assert "only EntitlementManagement.Read.All" in found["detail"]
    assert "a guess from its roles" in found["detail"]
    assert "New-MgServicePrincipalAppRoleAssignment" in found["remedy"]
    assert "-AppRoleId 9acd699f-1e81-4958-b001-93b1d2506e19" in found["remedy"]
    assert ["permission"] == own.line("diagnosis", reply)["failedChecks"]


@pytest.mark.parametrize(
    ("settings", "failed", "says"),
    [
        ({"roles": []}, ["permission", "graph"], "looks like the permission"),
        ({"licensed": False}, ["graph"], "looks like the licence"),
    ],
)
def test_what_graph_denies_is_explained(own, settings, failed, says):
    """Permission and licence, each with where the commands are."""
    own.control("PATCH", "settings", settings)

    reply = own.call("GET", "/api/diagnosis")

    assert (503, failed) == (
        reply.status,
        [name for name, result in findings(reply).items() if result == "failed"],
    )
    remedy = check(reply, "graph")["remedy"]
    assert says in remedy
    assert "docs/problems.md#graph-denied" in remedy


ALLOWED, FORBIDDEN, OTHER = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))


def test_every_access_package_is_tried():
    """One of three is in another catalog: it is named, and only it."""
    packages = f"{ALLOWED},{FORBIDDEN},{OTHER}"
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *", "SWEEP_ACCESS_PACKAGES": packages}
    with App(settings=settings, graph_options=("--requests", "0")) as own:
        for package, catalog in ((ALLOWED, ALLOWED), (FORBIDDEN, FORBIDDEN), (OTHER, ALLOWED)):
            new(own, accessPackageId=package, catalogId=catalog)
        own.control("PATCH", "settings", {"roles": [], "catalogs": [ALLOWED]})

        reply = own.call("GET", "/api/diagnosis")

        assert (503, dict.fromkeys(ALL, "ok") | {"graph": "failed"}) == (
            reply.status,
            findings(reply),
        )
        found = check(reply, "graph")
        said = f"Failed requests can be listed in 2 of 3 access packages. Not in {FORBIDDEN}. "
        assert found["detail"].startswith(said)
        assert "looks like the role scope" in found["remedy"]
        lists = [one["query"] for one in own.calls("list")]
        assert all(any(package in query for query in lists) for package in packages.split(","))


@pytest.mark.parametrize("kind", ["silence", "dropBefore"])
def test_an_identity_that_fails_or_hangs_is_said_in_time(own, kind):
    """Without a token Graph is not tried; the table is."""
    own.fault("token", kind, times=-1)
    begun = time.monotonic()

    reply = own.call("GET", "/api/diagnosis")

    assert time.monotonic() - begun < 25
    assert (503, {"settings": "ok", "token": "failed", "attempts": "ok"}) == (
        reply.status,
        findings(reply),
    )


def test_a_silent_graph_is_said_in_time(app):
    """Everything else is still told."""
    app.fault("list", "silence", times=-1)
    begun = time.monotonic()

    reply = app.call("GET", "/api/diagnosis")

    assert time.monotonic() - begun < 25
    assert dict.fromkeys(ALL, "ok") | {"graph": "failed"} == findings(reply)


@pytest.fixture(scope="module", name="wrong")
def _wrong():
    """Settings that cannot be, secrets among them."""
    yield from started({"GRAPH_CLOUD": "mars", "WEBHOOK_SECRETS": "hunter2hunter2"})


def test_wrong_settings_are_named_and_no_secret_is(wrong):
    """Nothing else can be tried then."""
    reply = wrong.call("GET", "/api/diagnosis")

    assert (503, {"settings": "failed"}) == (reply.status, findings(reply))
    detail = check(reply, "settings")["detail"]
    assert "GRAPH_CLOUD is 'mars'" in detail
    assert "WEBHOOK_SECRETS should be secrets of at least 24 bytes each" in detail
    assert "hunter2" not in str(reply.body)
    assert "hunter2" not in "\n".join(wrong.lines)
