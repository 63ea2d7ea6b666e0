"""one_request.py: what Graph's answers mean for one request, who gets them, and when."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from attempts import Attempt
from reprocess_http import problems
from reprocess_http.one_request import Result
from tests.calls import Crowd, Gate, One, accepts, refuses, shows
from tests.scripted import ID, NOW, reply

UNDER_WAY = "The delivery is already under way; nothing more was started."
ACCEPTED = Result(
    "accepted",
    "Graph accepted the reprocess; the delivery is under way.",
    on_its_way=True,
    accepted_at=NOW,
    graph_request_id="graph-1",
)


def same(result):
    """A result without the id that differs each time."""
    return replace(result, client_request_id="")


# -- reprocess --


def test_what_graph_accepts_costs_one_call_and_is_written_down():
    """By Graph's clock."""
    one = One(accepts(request_id="graph-1"))

    result = one.reprocess()

    assert ACCEPTED == same(result)
    assert 36 == len(result.client_request_id)
    assert (1, 0) == (one.sent("POST"), one.sent("GET"))
    attempt = one.attempts.read(ID)
    assert (1, NOW, "sent") == (attempt.count, attempt.last, attempt.outcome)


@pytest.mark.parametrize(
    ("state", "completed", "meant"),
    [
        ("delivering", None, Result("alreadyDelivering", UNDER_WAY, "delivering", True)),
        (
            "delivered",
            NOW,
            Result("alreadyDelivered", "The access was delivered already.", "delivered"),
        ),
    ],
)
def test_a_refusal_because_nothing_is_to_be_done_is_no_problem(state, completed, meant):
    """The state tells; a refusal is not written down."""
    one = One(refuses(), shows(state, completed))

    assert meant == one.reprocess()
    assert one.attempts.read(ID) is None


@pytest.mark.parametrize(
    ("state", "completed", "kind", "says"),
    [
        ("pendingApproval", None, problems.NotReprocessable, "Only a request whose delivery"),
        ("somethingNew", None, problems.NotReprocessable, "Only a request whose delivery"),
        ("denied", NOW, problems.NotReprocessable, "Only a request whose delivery"),
        ("deliveryFailed", NOW - timedelta(days=14, seconds=1), problems.WindowClosed, "again"),
        ("deliveryFailed", NOW - timedelta(days=13), problems.Refused, "Still retrying. The serv"),
        ("partiallyDelivered", None, problems.Refused, "Still retrying. The service may still be"),
    ],
)
def test_any_other_refusal_is_explained_by_the_state(state, completed, kind, says):
    """With Graph's code, so that a person can look it up."""
    with pytest.raises(kind) as caught:
        One(refuses(), shows(state, completed)).reprocess()

    assert says in caught.value.detail
    assert (state, "Busy") == (caught.value.state, caught.value.graph_error_code)


@pytest.mark.parametrize(
    ("minutes", "outcome", "is_known"),
    [(1, "sent", True), (4.9, "sent", True), (5, "sent", False), (1, "refused", False)],
)
def test_a_refusal_right_after_a_sweeps_acceptance_is_no_problem(minutes, outcome, is_known):
    """Only the table knows of it, or of another instance's; Graph still shows the old failure."""
    one, at = One(refuses(), shows()), NOW - timedelta(minutes=minutes)
    claims = one.attempts.claim([Attempt(ID)], at, "a-sweep").mine
    if outcome != "sent":
        one.attempts.note([(claims[0], outcome, "No.")])

    if not is_known:
        with pytest.raises(problems.Refused):
            one.reprocess()
        return
    known = Result("alreadyDelivering", UNDER_WAY, "deliveryFailed", True, accepted_at=at)
    assert known == one.reprocess()
    assert (1, 1) == (one.sent("POST"), one.sent("GET"))


@pytest.mark.parametrize("raises", [HttpResponseError(), RuntimeError("nobody foresaw this")])
def test_a_table_that_fails_leaves_graphs_refusal_as_it_is(raises):
    """It would only have explained it."""

    class Broken:
        def read(self, *_):
            raise raises

    with pytest.raises(problems.Refused, match="Still retrying"):
        One(refuses(), shows(), table=Broken()).reprocess()


@pytest.mark.parametrize(
    ("script", "kind", "lost"),
    [
        ([refuses(status=404)], problems.RequestNotFound, False),
        ([refuses(status=403)], problems.Denied, False),
        ([refuses(), refuses(status=403)], problems.Denied, False),
        ([refuses(), *[requests.ReadTimeout()] * 5], problems.TimedOut, False),
        ([requests.ReadTimeout()] * 4, problems.TimedOut, True),
        ([requests.ConnectionError()] * 4, problems.Failing, True),
    ],
    ids=["not found", "denied", "denied to read", "silent to read", "silent", "dropped"],
)
def test_errors_of_graph_are_problems(script, kind, lost):
    """Only after a lost answer to a reprocess it is not known whether Graph accepted."""
    with pytest.raises(kind) as caught:
        One(*script).reprocess(40)

    assert lost == ("is not known" in caught.value.detail)


class Table:
    """Attempts that are written down as told."""

    def __init__(self, record):
        self.record = record


def test_what_cannot_be_written_down_changes_no_answer(caplog):
    """The log says so."""

    def record(*_):
        raise HttpResponseError

    assert ACCEPTED == same(One(accepts(request_id="graph-1"), table=Table(record)).reprocess())
    assert '"attempt not recorded"' in caplog.text
    assert f'"requestId": "{ID}", "error": "HttpResponseError"' in caplog.text


def test_what_is_written_down_slowly_is_not_waited_for(monkeypatch, caplog):
    """A silent table costs a second at most; it is told how long it has."""
    monkeypatch.setattr("reprocess_http.one_request.RECORD_SECONDS", 0.05)
    silent, told = threading.Event(), []

    def record(_request_id, _at, deadline):
        told.append(deadline.left())
        silent.wait(10)

    assert ACCEPTED == same(One(accepts(request_id="graph-1"), table=Table(record)).reprocess())
    silent.set()
    assert '"error": "TookTooLong"' in caplog.text
    assert 0 < told[0] <= 0.05


# -- equal calls at once --


def test_of_equal_calls_at_once_one_reaches_graph(monkeypatch):
    """The others are told that it is under way, with the same acceptance; one attempt counts."""
    gate = Gate(accepts(request_id="graph-1"))
    one = One(gate)

    first, *others = Crowd(monkeypatch).ends(gate, *[one.reprocess] * 8)

    told = replace(ACCEPTED, outcome="alreadyDelivering", detail=UNDER_WAY)
    assert (ACCEPTED, [told] * 7) == (same(first), [same(other) for other in others])
    assert (1, 1) == (one.sent("POST"), one.attempts.read(ID).count)


def test_a_problem_is_everybodys(monkeypatch):
    """After one refusal and one read."""
    gate = Gate(refuses())
    one = One(gate, shows("denied"))

    ends = Crowd(monkeypatch).ends(gate, *[one.reprocess] * 4)

    assert [problems.NotReprocessable] * 4 == [type(end) for end in ends]
    assert (1, 1) == (one.sent("POST"), one.sent("GET"))


@pytest.mark.parametrize("webhook_first", [True, False])
def test_a_webhook_and_a_call_share_one_reprocess(monkeypatch, webhook_first):
    """Whoever comes first."""
    gate = Gate(accepts())
    one = One(gate)
    calls = [one.reprocess, one.hook]

    ends = Crowd(monkeypatch).ends(gate, *sorted(calls, reverse=webhook_first, key=calls.index))

    assert [("accepted", NOW), ("alreadyDelivering", NOW)] == [
        (end.outcome, end.accepted_at) for end in ends
    ]
    assert 1 == one.sent("POST")


def test_who_waits_for_another_call_waits_within_its_own_time():
    """Then it is a time-out of its own, and the end is not known."""
    gate = Gate(accepts())
    one = One(gate)
    crowd = threading.Thread(target=one.reprocess)
    crowd.start()
    assert gate.begun.wait(10)

    with pytest.raises(problems.TimedOut) as caught:
        one.reprocess(0.01)

    gate.may_end.set()
    crowd.join()
    assert "Another call for this request has not ended in time." in caught.value.detail
    assert "is not known" in caught.value.detail
    assert 1 == one.sent("POST")


# -- after an acceptance --


def test_a_call_that_came_at_once_but_begins_later_sends_nothing():
    """The host has only so many threads; ten seconds after an acceptance it is read first."""
    one = One(accepts(), shows())
    one.reprocess()
    one.world.time += 9

    assert (
        Result("alreadyDelivering", UNDER_WAY, "deliveryFailed", on_its_way=True, accepted_at=NOW)
        == one.reprocess()
    )
    assert 1 == one.sent("POST")


def test_an_acceptance_whose_end_was_seen_holds_nothing_back():
    """What fails after it is sent again at once."""
    one = One(accepts(), shows("delivered"), accepts())
    one.reprocess()
    one.status()

    assert "accepted" == one.reprocess().outcome
    assert 2 == one.sent("POST")


def test_a_refusal_right_after_an_acceptance_is_no_problem():
    """Graph may still show the old failure; the acceptance that is known is told."""
    one = One(accepts(), refuses(), shows())
    one.reprocess()
    one.world.time += 10

    assert (
        Result("alreadyDelivering", UNDER_WAY, "deliveryFailed", on_its_way=True, accepted_at=NOW)
        == one.reprocess()
    )


def test_five_minutes_after_an_acceptance_the_old_failure_counts_again():
    """By Graph's clock."""
    one = One(accepts(), refuses(), shows())
    one.reprocess()
    one.world.time += 300

    with pytest.raises(problems.Refused):
        one.reprocess()


def test_a_webhook_repeated_sends_nothing_while_it_is_on_its_way():
    """For five minutes; it is sent again at once when the delivery has failed anew."""
    one = One(
        accepts(),
        shows(),
        shows("delivering", None),
        shows(),
        shows(completed=NOW + timedelta(seconds=9)),
        accepts(),
    )
    outcomes = []
    for seconds in (0, 1, 60, 299, 299):
        one.world.time = seconds
        outcomes.append(one.hook().outcome)

    assert ["accepted", *["alreadyDelivering"] * 3, "accepted"] == outcomes
    assert 2 == one.sent("POST")


# -- dry runs and status --


@pytest.mark.parametrize(
    ("state", "completed", "outcome"),
    [
        ("deliveryFailed", NOW, "wouldReprocess"),
        ("partiallyDelivered", None, "wouldReprocess"),
        ("DELIVERED", NOW, "alreadyDelivered"),
        ("Delivering", None, "alreadyDelivering"),
        ("submitted", None, "notReprocessable"),
        ("canceled", NOW, "notReprocessable"),
        ("deliveryFailed", NOW - timedelta(days=15), "windowClosed"),
    ],
)
def test_a_dry_run_tells_what_a_reprocess_would_come_to(state, completed, outcome):
    """It reads once and changes nothing."""
    one = One(shows(state, completed))

    result = one.deliveries.would_reprocess(ID, one.world.deadline())

    assert (outcome, state, False) == (result.outcome, result.state, result.on_its_way)
    assert (0, 1) == (one.sent("POST"), one.sent("GET"))


@pytest.mark.parametrize(
    ("state", "result"),
    [
        ("delivered", Result("delivered", "The access was delivered.", "delivered")),
        (
            "Denied",
            Result("denied", "The request was denied; nothing will be delivered.", "Denied"),
        ),
        (
            "canceled",
            Result("canceled", "The request was canceled; nothing will be delivered.", "canceled"),
        ),
        (
            "partiallyDelivered",
            Result(
                "partiallyDelivered",
                "Only a part of the access was delivered.",
                "partiallyDelivered",
            ),
        ),
        ("deliveryFailed", Result("deliveryFailed", "The delivery failed.", "deliveryFailed")),
        *(
            (
                state,
                Result("onItsWay", "The request has not ended yet; ask again later.", state, True),
            )
            for state in ("submitted", "scheduled", "delivering", "somethingNew")
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_status_is_what_graph_says(state, result):
    """An unknown state is on its way. Of what was not tried it is not said to have failed again."""
    assert result == One(shows(state)).status()


LATER, EARLIER = NOW + timedelta(seconds=2), NOW - timedelta(seconds=2)
AGAIN = "The delivery failed again; its cause is not fixed yet."


@pytest.mark.parametrize(
    ("accepted_at", "failed_at", "outcome", "detail"),
    [
        (NOW, EARLIER, "onItsWay", "The request has not ended yet; ask again later."),
        (NOW, None, "onItsWay", "The request has not ended yet; ask again later."),
        (NOW, LATER, "deliveryFailed", AGAIN),
        (None, EARLIER, "deliveryFailed", "The delivery failed."),
        (NOW - timedelta(minutes=5), LATER, "deliveryFailed", AGAIN),
        (
            NOW - timedelta(minutes=5),
            NOW - timedelta(minutes=6),
            "deliveryFailed",
            "The delivery failed.",
        ),
        (NOW + timedelta(days=365), EARLIER, "deliveryFailed", "The delivery failed."),
    ],
)
def test_right_after_an_acceptance_the_old_failure_is_on_its_way(
    accepted_at, failed_at, outcome, detail
):
    """For five minutes; only a failure after the acceptance is one again."""
    result = One(shows(completed=failed_at)).status(accepted_at)

    assert (outcome, detail, accepted_at) == (result.outcome, result.detail, result.accepted_at)


def test_a_status_knows_what_was_accepted_here():
    """Also when the caller does not say so."""
    one = One(accepts(), shows(), shows(completed=LATER))
    one.reprocess()

    assert ("onItsWay", NOW) == ((first := one.status()).outcome, first.accepted_at)
    assert AGAIN == one.status().detail


# -- waiting for the end --


def waited(one, seconds, budget=60):
    """Reprocess and wait; return the result and how long it was waited by the clock."""
    deadline = one.world.deadline(budget)
    result = one.deliveries.reprocess(ID, deadline)
    begun = one.world.time
    return one.deliveries.stay(ID, result, seconds, deadline), one.world.time - begun


def test_a_wait_ends_with_the_request():
    """Read every three seconds."""
    one = One(accepts(), shows(), shows("delivering", None), shows("delivered"))

    result, seconds = waited(one, 30)

    assert ("delivered", 9) == (result.outcome, seconds)


@pytest.mark.parametrize("wait", [1, 3, 10, 30])
def test_a_wait_uses_its_time_fully(wait):
    """The last look is when it is over, so that nothing is missed."""
    looks = -(-wait // 3)
    one = One(accepts(), *[shows("delivering", None)] * (looks - 1), shows("delivered"))

    result, seconds = waited(one, wait)

    assert ("delivered", wait) == (result.outcome, seconds)
    assert 1 + looks == len(one.world.calls)


def test_a_wait_that_is_over_changes_nothing_about_the_acceptance():
    """The 202 is that of the acceptance."""
    one = One(accepts(request_id="graph-1"), *[shows("delivering", None)] * 4)

    result, seconds = waited(one, 10)

    assert (ACCEPTED, 10) == (same(result), seconds)


def test_a_silent_graph_does_not_prolong_a_wait():
    """By three seconds at most: each look may last until then, and no longer."""
    one = One(accepts(request_id="graph-1"))

    def silence():
        _, read = one.world.transport.timeouts[-1]
        one.world.time += read
        return requests.ReadTimeout()

    one.world.transport.script += [shows("delivering", None), *[silence] * 9]

    result, seconds = waited(one, 40)

    assert ACCEPTED == same(result)
    assert 40 <= seconds <= 43.01


def test_a_wait_as_long_as_the_budget_ends_with_it():
    """Three seconds of it are left for the last look."""
    one = One(accepts(), *[shows("delivering", None)] * 20)

    assert 57 == waited(one, 60)[1]


@pytest.mark.parametrize("tries", [1, 5])
def test_a_look_that_fails_is_not_the_last(tries):
    """Neither when a second try of it succeeds nor when all fail."""
    one = One(accepts(), *[refuses(status=500)] * tries, shows("delivered"))

    assert "delivered" == waited(one, 40)[0].outcome


@pytest.mark.parametrize("status", [403, 404])
def test_a_wait_ends_when_nothing_more_can_be_seen(status):
    """The acceptance is known even so."""
    one = One(accepts(request_id="graph-1"), refuses(status=status))

    result, seconds = waited(one, 30)

    assert (ACCEPTED, 3) == (same(result), seconds)


@pytest.mark.parametrize("status", [400, 405, 409, 422])
def test_a_refusal_to_show_a_request_is_none_of_a_reprocess(status):
    """Nobody asked for one; Graph is of no use just now."""
    with pytest.raises(problems.Failing) as caught:
        One(refuses(status=status)).status()

    assert f"Graph refuses to show the request: Still retrying (HTTP {status} Busy)." == (
        caught.value.detail
    )


def test_a_told_wait_longer_than_the_wait_ends_it():
    """Nothing is asked before Graph wants to be asked."""
    one = One(accepts(request_id="graph-1"), reply(429, Retry_After="60"))

    result, seconds = waited(one, 30)

    assert (ACCEPTED, 3) == (same(result), seconds)
    assert 2 == len(one.world.calls)
