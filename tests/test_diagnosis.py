"""diagnosis.py: what is wrong is named, with what to do about it, and never waited for too long."""

import contextvars
import threading
from types import SimpleNamespace

import pytest
from azure.core.exceptions import HttpResponseError

import graph
import settings as app_settings
from reprocess_http import diagnosis
from reprocess_http.diagnosis import GRAPH_APP_ID, READ, WRITE, WRITE_ID

PACKAGES = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(40)]
OBJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "More ways, and what to grant instead: docs/problems.md#graph-denied."
LATER = "Try again later; the sweep does so by itself."


def no(error):
    """A function that raises this."""

    def raises(*_):
        raise error

    return raises


@pytest.fixture(name="look")
def _look(monkeypatch):
    """Diagnose an app that is as told; return each check's detail and remedy by its name."""

    def look(
        *,
        failed=lambda *_: iter(()),
        roles=(WRITE,),
        identity=None,
        table=lambda _: None,
        readable=lambda _: None,
        **environ,
    ):
        claims = SimpleNamespace(object_id=OBJECT, roles=roles)
        shared = SimpleNamespace(failed=failed, identity=identity or (lambda _: claims))
        monkeypatch.setattr(graph, "shared", lambda: shared)
        monkeypatch.setattr(
            "attempts.shared",
            lambda: SimpleNamespace(last_sweep=readable, check_writable=table),
        )
        monkeypatch.setattr(app_settings, "current", lambda: app_settings.load(environ))
        checks = diagnosis.run()
        assert all(check.milliseconds >= 0 for check in checks)
        return {check.name: (check.detail, check.remedy) for check in checks}

    return look


def test_all_is_well(look):
    """Each check says what it saw; what the host was told is among it."""
    assert {
        "settings": (
            (
                "Graph is https://graph.microsoft.com, v1.0. The host was told the HTTP_AUTH_LEVEL "
                "and SWEEP_SCHEDULE that are set."
            ),
            "",
        ),
        "token": (f"The identity is {OBJECT}.", ""),
        "permission": (f"The token has {WRITE}.", ""),
        "graph": ("Failed requests can be listed.", ""),
        "attempts": ("No storage account is configured: attempts are kept in memory.", ""),
    } == look()


def test_wrong_settings_are_all_that_can_be_told(look):
    """Nothing else can be tried without them."""
    (name, (detail, remedy)), *others = look(GRAPH_CLOUD="mars").items()

    assert ("settings", []) == (name, others)
    assert detail.startswith("GRAPH_CLOUD is 'mars' but should be one of ")
    assert "Correct these app settings; the app restarts by itself." == remedy


def test_what_the_host_was_told_otherwise_is_found(monkeypatch):
    """By the name of the setting; a restart is the remedy, and the rest cannot be tried."""
    monkeypatch.setenv("HTTP_AUTH_LEVEL", "anonymous")

    (check,) = diagnosis.run()

    assert ("settings", True) == (check.name, check.failed)
    assert "HTTP_AUTH_LEVEL means 'anonymous' now, but the host was told 'function'" in check.detail


# -- token and permission --


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            graph.GraphDenied("the managed identity was refused a token (HTTP 400)"),
            (
                "the managed identity was refused a token (HTTP 400).",
                (
                    "Check that the app has a managed identity, and that AZURE_CLIENT_ID names one that "
                    "is assigned to it."
                ),
            ),
        ),
        (
            graph.GraphFailed("the endpoint did not answer"),
            (
                "the endpoint did not answer.",
                (
                    "Try again. If it stays so, switch on the app's managed identity, or assign the one "
                    "in AZURE_CLIENT_ID to it."
                ),
            ),
        ),
    ],
)
def test_without_a_token_graph_is_not_tried(look, error, found):
    """The table is."""
    checks = look(identity=no(error))

    assert (["settings", "token", "attempts"], found) == (list(checks), checks["token"])


@pytest.mark.parametrize(
    ("roles", "seen"),
    [((READ,), f"only {READ}, which does not allow a reprocess"), ((), f"no {WRITE}")],
)
def test_a_missing_permission_is_told_with_the_commands_that_grant_it(look, roles, seen):
    """Graph lists with less, so only the token's roles tell."""
    detail, remedy = look(roles=roles)["permission"]

    assert detail.startswith(f"The token has {seen}. That is a guess from its roles")
    for part in (OBJECT, GRAPH_APP_ID, WRITE_ID, ELSEWHERE):
        assert part in remedy


@pytest.mark.parametrize(
    ("roles", "detail"),
    [
        (None, "Not known: the token cannot be read."),
        (
            (),
            (
                f"The token lacks {WRITE}; catalog roles, which a token does not show, may stand for "
                "it, since SWEEP_ACCESS_PACKAGES is set."
            ),
        ),
    ],
)
def test_what_a_token_cannot_tell_is_no_failure(look, roles, detail):
    """Graph itself decides."""
    packages = {} if roles is None else {"SWEEP_ACCESS_PACKAGES": PACKAGES[0]}

    assert (detail, "") == look(roles=roles, **packages)["permission"]


# -- Graph --


def forbidden(detail="No", looks_like="role scope"):
    error = graph.GraphDenied(detail, status=403, code="UnAuthorized")
    error.looks_like = looks_like
    return error


def test_what_graph_denies_is_explained(look):
    """With its code, and where the commands are."""
    error = forbidden("Insufficient privileges.", "licence")

    assert (
        "Insufficient privileges (UnAuthorized).",
        f"{error.remedy} {ELSEWHERE}",
    ) == look(failed=no(error))["graph"]


def test_every_access_package_is_tried(look):
    """Each by itself; those that cannot be listed are named, with what the first comes from."""
    seen = []

    def failed(_, package):
        seen.append(package)
        if package in PACKAGES[2:4]:
            raise forbidden()
        return iter(())

    detail, remedy = look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))["graph"]

    assert PACKAGES == sorted(seen)
    assert (
        f"Failed requests can be listed in 38 of 40 access packages. Not in {PACKAGES[2]}, "
        f"{PACKAGES[3]}. Of the first: No (UnAuthorized)."
    ) == detail
    assert f"{forbidden().remedy} {ELSEWHERE}" == remedy


def test_all_access_packages_can_be_listed(look):
    """That is said with their number."""
    checks = look(SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))

    assert ("Failed requests can be listed in 40 of 40 access packages.", "") == checks["graph"]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            graph.GraphRefused("Bad id", status=400),
            "Check that SWEEP_ACCESS_PACKAGES names access packages of this tenant.",
        ),
        (graph.GraphThrottled("Too many", status=429), LATER),
        (graph.GraphFailed("It broke"), LATER),
    ],
)
def test_what_else_keeps_a_package_from_being_listed(look, error, remedy):
    """Its own remedy for each kind."""
    found = look(failed=no(error), SWEEP_ACCESS_PACKAGES=PACKAGES[0])["graph"]

    assert (
        (
            f"Failed requests can be listed in 0 of 1 access packages. Not in {PACKAGES[0]}. Of "
            f"the first: {error.detail}."
        ),
        remedy,
    ) == found


@pytest.mark.parametrize("slow", [20, 0])
def test_what_could_not_be_tried_in_time_is_counted(look, monkeypatch, slow):
    """It is no failure while others could be listed; a few are tried at once."""
    monkeypatch.setattr(diagnosis, "GRAPH_SECONDS", 1.05)
    lock, at_once, most = threading.Lock(), set(), []

    def failed(deadline, package):
        with lock:
            at_once.add(package)
            most.append(len(at_once))
        late = PACKAGES.index(package) >= slow
        while late and deadline.left():
            threading.Event().wait(deadline.left())
        with lock:
            at_once.discard(package)
        if late:
            raise graph.GraphTimeout("Graph gave no answer in time")
        return iter(())

    found = look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))["graph"]

    late = (
        f"Failed requests can be listed in {slow} of 40 access packages. {40 - slow} could not be "
        "tried in time."
    )
    assert (late, "" if slow else LATER) == found
    assert 1 < max(most) <= diagnosis.AT_ONCE


def test_one_silent_package_is_named(look, monkeypatch):
    """It has its own time, so that the others do not wait for it."""
    monkeypatch.setattr(diagnosis, "PACKAGE_SECONDS", 0.0)

    def failed(deadline, package):
        if package == PACKAGES[1]:
            assert not deadline.left()
            raise graph.GraphTimeout("Graph gave no answer in time")
        return iter(())

    detail, remedy = look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES[:3]))["graph"]

    assert f"in 2 of 3 access packages. Not in {PACKAGES[1]}." in detail
    assert LATER == remedy


def test_the_threads_belong_to_the_invocation(look):
    """Without its context, their log lines would be dropped."""
    invocation = contextvars.ContextVar("invocation", default="none")
    invocation.set("run-1")
    seen = []

    def failed(*_):
        seen.append(invocation.get())
        return iter(())

    look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))

    assert ["run-1"] * 40 == seen


# -- the attempts, and the whole --

KEY = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5"


@pytest.mark.parametrize("what", ["table", "readable"])
def test_the_table_is_proved_to_be_readable_and_writable(look, what):
    """One is not enough."""
    denied = HttpResponseError("secret words")
    denied.status_code = 403

    checks = look(AzureWebJobsStorage=KEY)
    assert ("The table reprocessAttempts can be read and written.", "") == checks["attempts"]
    checks = look(AzureWebJobsStorage=KEY, **{what: no(denied)})
    assert (
        "The table reprocessAttempts cannot be read and written (HTTP 403).",
        (
            "Check AzureWebJobsStorage, and give the managed identity the role Storage Table Data "
            "Contributor on the storage account; without the table no sweep changes anything."
        ),
    ) == checks["attempts"]


def test_whatever_hangs_is_not_waited_for(look, monkeypatch):
    """Each check has its time; all together are below 25 seconds."""
    times = [
        diagnosis.QUICK_SECONDS * 2,
        diagnosis.TOKEN_SECONDS,
        diagnosis.GRAPH_SECONDS,
        diagnosis.TABLE_SECONDS,
    ]
    assert sum(times) < 25
    for name in ("TOKEN_SECONDS", "GRAPH_SECONDS", "TABLE_SECONDS"):
        monkeypatch.setattr(diagnosis, name, 0.05)
    hangs = threading.Event()

    checks = look(failed=lambda *_: hangs.wait(10), table=lambda _: hangs.wait(10))
    no_token = look(identity=lambda _: hangs.wait(10))
    hangs.set()

    late = (
        "no end within 0.05 seconds.",
        "Try again; if it stays so, look for an outage or a firewall.",
    )
    assert [late, late, late] == [checks["graph"], checks["attempts"], no_token["token"]]
    assert "graph" not in no_token


def test_what_nobody_foresaw_is_a_finding(look, caplog):
    """Only its kind is told; the log has it whole."""
    checks = look(table=no(RuntimeError("secret words")))

    assert ("RuntimeError.", "The app's log has the whole error.") == checks["attempts"]
    assert "RuntimeError: secret words" in caplog.text
