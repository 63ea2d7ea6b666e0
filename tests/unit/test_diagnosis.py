"""diagnosis.py: what is wrong is named, with what to do about it."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from azure.core.exceptions import HttpResponseError

import attempt_store
import graph
from graph.outcome import REMEDIES
from reprocess_http import diagnosis
from reprocess_http.diagnosis import READ, SEE_DOCUMENTS, WRITE
from tests.support.http_calls import call
from version import VERSION

PACKAGES = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(40)]
OBJECT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(name="look")
def _look(monkeypatch, configured):
    """Diagnose an app that is as told; return each check's detail and remedy by its name."""

    def look(*, failed=lambda *_, **__: (), roles=(WRITE,), identity=None, writable=None, readable=None, **environ):  # fmt: skip
        claims = SimpleNamespace(object_id=OBJECT, roles=roles)
        shared = SimpleNamespace(failed=failed, identity=identity or (lambda _: claims))
        fine = lambda _: None  # noqa: E731
        store = SimpleNamespace(last_report=readable or fine, check_writable=writable or fine)
        monkeypatch.setattr(graph, "shared", lambda: shared)
        monkeypatch.setattr(attempt_store, "for_callers", lambda: store)
        configured(**environ)
        checks = diagnosis.run()
        assert all(check["milliseconds"] >= 0 for check in checks)
        assert ["failed" if "remedy" in one else "ok" for one in checks] == [
            one["result"] for one in checks
        ]
        return {check["name"]: (check["detail"], check.get("remedy", "")) for check in checks}

    return look


def test_all_is_well(look):
    """Each check says what it saw."""
    assert {
        "settings": "Graph is https://graph.microsoft.com, v1.0. The host runs with the HTTP_AUTH_LEVEL and SWEEP_SCHEDULE that are set.",
        "token": f"The identity is {OBJECT}.", "permission": f"The token has {WRITE}.",
        "graph": "Failed requests can be listed.",
        "attempts": "No storage account is configured: attempts are kept in memory.",
    } == {name: detail for name, (detail, _) in look().items()}  # fmt: skip


def test_the_answer_to_a_caller(look, caplog):
    """200 when all is well, else 503 and which checks failed; no parameters."""
    look()
    answer = call(diagnosis.DIAGNOSIS, caplog)
    assert 5 == len(answer.body.pop("checks"))
    assert {"outcome": "ok", "version": VERSION, "correlationId": "run-1"} == answer.body
    assert (200, 400) == (answer.status, call(diagnosis.DIAGNOSIS, caplog, "x").status)
    look(GRAPH_CLOUD="mars")
    answer = call(diagnosis.DIAGNOSIS, caplog)
    assert (503, "failed") == (answer.status, answer.body["outcome"])
    assert ["settings"] == answer.lines[0]["failedChecks"]


def test_wrong_settings_are_all_that_can_be_found(look):
    """Nothing else can be tried without them."""
    ((name, (detail, remedy)),) = look(GRAPH_CLOUD="mars").items()

    assert ("settings", "Correct these app settings; the app restarts by itself.") == (name, remedy)
    assert detail.startswith("GRAPH_CLOUD is 'mars' but should be one of ")


# -- token and permission --


@pytest.mark.parametrize(("error", "remedy"), [
    (graph.GraphDenied("the managed identity was refused a token"),
     "Check that the app has a managed identity, and that AZURE_CLIENT_ID names one that is assigned to it."),
    (graph.GraphFailed("the endpoint did not answer"),
     "Try again. If it stays so, switch on the app's managed identity, or assign the one in AZURE_CLIENT_ID to it."),
])  # fmt: skip
def test_without_a_token_graph_is_not_tried(look, error, remedy):
    """The table is."""
    checks = look(identity=Mock(side_effect=error))

    assert ["settings", "token", "attempts"] == list(checks)
    assert (f"{error.detail}.", remedy) == checks["token"]


GUESS = "That is a guess from its roles, Graph itself decides; a role just granted is in the next token, which may take a day."
CATALOGS = "catalog roles, which a token does not show, may stand for it, since SWEEP_ACCESS_PACKAGES is set."
GRANT = f"Grant it: scripts/permission add {OBJECT}. {SEE_DOCUMENTS}"


@pytest.mark.parametrize(("roles", "packages", "found"), [
    ((READ,), "", (f"The token has only {READ}, which does not allow a reprocess. {GUESS}", GRANT)),
    ((), "", (f"The token has no {WRITE}. {GUESS}", GRANT)),
    ((), PACKAGES[0], (f"The token lacks {WRITE}; {CATALOGS}", "")),
    (None, "", ("Not known: the token cannot be read.", "")),
])  # fmt: skip
def test_a_missing_permission_comes_with_the_command_that_grants_it(look, roles, packages, found):
    """Graph lists with less, so only the token's roles tell; what they cannot tell is no failure."""
    assert found == look(roles=roles, SWEEP_ACCESS_PACKAGES=packages)["permission"]


# -- Graph --


FORBIDDEN = graph.GraphDenied("Insufficient privileges.", status=403, code="UnAuthorized")
FORBIDDEN.remedy = REMEDIES["role scope"]
DENIED = f"{FORBIDDEN.remedy} {SEE_DOCUMENTS}"


def test_the_remedy_of_a_list_that_graph_does_not_give(look):
    """A denial's has its status and code; a refusal's the settings that it hangs on."""
    seen = "Insufficient privileges (HTTP 403 UnAuthorized)."
    assert (seen, DENIED) == look(failed=Mock(side_effect=FORBIDDEN))["graph"]

    error = graph.GraphRefused("No such filter", status=400)
    remedy = look(failed=Mock(side_effect=error))["graph"][1]
    assert (True, False) == ("GRAPH_REQUESTS_PATH" in remedy, "SWEEP_ACCESS_PACKAGES" in remedy)
    remedy = look(failed=Mock(side_effect=error), SWEEP_ACCESS_PACKAGES=PACKAGES[0])["graph"][1]
    assert "Check the ids in SWEEP_ACCESS_PACKAGES." == remedy


def test_every_access_package_is_tried_up_to_its_first_request(look):
    """Those that cannot be listed are named, with what is wrong with the first."""
    seen = []

    def failed(_, package, *, names):
        assert not names
        seen.append(package)
        if package in PACKAGES[2:4]:
            raise FORBIDDEN
        yield "a request"
        raise AssertionError

    found = look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))["graph"]

    assert PACKAGES == sorted(seen)
    listed = "Failed requests can be listed in 38 of 40 access packages."
    first = "Of the first: Insufficient privileges (HTTP 403 UnAuthorized)."
    assert (f"{listed} Not in {PACKAGES[2]}, {PACKAGES[3]}. {first}", DENIED) == found


@pytest.mark.parametrize(("listed", "remedy"), [(20, ""), (0, "The next sweep tries again.")])
def test_what_could_not_be_listed_in_time_is_counted(look, monkeypatch, listed, remedy):
    """It is no failure while others could be listed."""
    monkeypatch.setattr(diagnosis, "GRAPH_SECONDS", 0.0)
    monkeypatch.setattr(diagnosis, "LISTS_AT_ONCE", 1)

    def failed(_, package, *, names):
        if PACKAGES.index(package) >= listed:
            raise graph.GraphTimeout("no answer in time")
        return ()

    detail = f"Failed requests can be listed in {listed} of 40 access packages. {40 - listed} could not be listed in time."
    checks = look(failed=failed, SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))
    assert (detail, remedy) == checks["graph"]


# -- the attempts, and the whole --

KEY = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5"


@pytest.mark.parametrize("what", ["writable", "readable"])
def test_the_table_is_proven_to_be_readable_and_writable(look, what):
    """The remedy is the table's own: a firewall is not the role's fault."""
    denied = HttpResponseError("secret words")
    denied.status_code = 403
    denied.error_code = "AuthorizationFailure"

    checks = look(AzureWebJobsStorage=KEY)
    assert ("The table reprocessAttempts can be read and written.", "") == checks["attempts"]
    detail, remedy = look(AzureWebJobsStorage=KEY, **{what: Mock(side_effect=denied)})["attempts"]
    assert detail.startswith("The table reprocessAttempts cannot be read and written; without it")
    assert attempt_store.what_to_do(denied) == remedy


def test_the_checks_take_less_than_25_seconds_together():
    """Whatever is silent: each has its own deadline."""
    seconds = diagnosis.TOKEN_SECONDS + diagnosis.ROLES_SECONDS + diagnosis.GRAPH_SECONDS

    assert seconds + diagnosis.TABLE_SECONDS < 25


def test_an_unexpected_error_is_a_finding(look, caplog):
    """Only its kind is shown; the log has it whole."""
    checks = look(writable=Mock(side_effect=RuntimeError("secret words")))

    assert ("RuntimeError.", "The app's log has the whole error.") == checks["attempts"]
    assert "RuntimeError: secret words" in caplog.text
