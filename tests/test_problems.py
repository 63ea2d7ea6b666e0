"""problems.py: each error is one problem; page, docstring and code have the same ones."""

import re
from pathlib import Path

import pytest

import graph
from reprocess_http import problems
from reprocess_http.problems import problem_of
from settings import SettingsError
from tests.calls import every_problem

HTTP = Path(problems.__file__).parent
PAGE = (HTTP.parent / "docs" / "problems.md").read_text()
LOST = (
    "Whether Graph accepted the reprocess is not known; ask the status before trying again, or "
    "leave it to the next sweep."
)


def test_the_page_lists_every_problem_and_no_other():
    """A caller can rely on the page."""
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.MULTILINE))

    assert {kind.name: str(kind.status) for kind in every_problem()} == documented


def test_the_page_lists_every_reason_and_no_other():
    """An operator finds what the log says, word by word."""
    page = PAGE.split("## unauthorized")[1].split("## graph-denied")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    documented = {reason for row in rows for reason in re.findall(r"`([^`]+)`", row)}
    code = "".join(
        (HTTP / f"{name}.py").read_text() for name in ("door", "signatures", "status_link")
    )
    said = re.findall(r'(?:reason=|reason = |InvalidSignature\(|InvalidLink\()f?"([^"]+)"', code)

    assert {re.sub(r"\{\w+\}", "…", reason) for reason in said} == documented


def test_the_tree_in_the_docstring_is_the_codes():
    """Every class with its status."""
    drawn = re.findall(r"── (\w+) +(\d{3})", problems.__doc__)

    assert [(kind.__name__, str(kind.status)) for kind in every_problem()] == drawn


def test_every_problem_says_what_it_is():
    """A name and a title of its own."""
    kinds = every_problem()

    assert len(kinds) == len({kind.name for kind in kinds}) == len({kind.title for kind in kinds})
    assert all(kind.title and not kind.title.endswith(".") for kind in kinds)


LICENCE = (
    "Insufficient privileges. It looks like the licence: the tenant needs Microsoft Entra ID "
    "Governance or Entra ID P2. The commands are in docs/problems.md#graph-denied."
)


def denied(looks_like):
    error = graph.GraphDenied("Insufficient privileges.", status=403)
    error.looks_like = looks_like
    return error


class NewKind(graph.GraphTimeout):
    """An error that the table does not name."""


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (
            graph.RequestNotFound("x"),
            problems.RequestNotFound,
            "Graph knows no request with this id, or the app may not see it.",
        ),
        (graph.GraphRefused("Busy."), problems.Refused, "Graph says: Busy."),
        (graph.BatchNotAccepted("{x}"), problems.Refused, "Graph says: {x}."),
        (
            denied("licence"),
            problems.Denied,
            LICENCE,
        ),
        (
            graph.GraphThrottled("x"),
            problems.Throttled,
            "Graph asks to wait longer than this call may last.",
        ),
        (graph.GraphFailed("It broke"), problems.Failing, "It broke."),
        (graph.GraphTimeout("Silence"), problems.TimedOut, "Silence."),
        (NewKind("Silence"), problems.TimedOut, "Silence."),
        (SettingsError(["A is wrong", "B too"]), problems.Misconfigured, "A is wrong; B too."),
        (
            KeyError("secret"),
            problems.Internal,
            "An unforeseen error; the app's log has it under this instance.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_an_error_is_to_a_caller(error, kind, detail):
    """By its class, or by what it is a kind of."""
    problem = problem_of(error)

    assert (kind, detail) == (type(problem), problem.detail)


def test_a_problem_is_its_own():
    """It is not made anew, so that nothing of it is lost."""
    problem = problems.Forbidden(reason="x")

    assert problem is problem_of(problem)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_only_a_lost_reprocess_leaves_its_end_open(sent, lost):
    """A read that is lost has changed nothing."""
    detail = problem_of(graph.GraphFailed("It broke", lost=lost), sent=sent).detail

    assert ("It broke. " + LOST if sent and lost else "It broke.") == detail


@pytest.mark.parametrize(
    ("told", "waits"), [(None, 30), (0.2, 1), (3600.2, 3601), (86400.0, 86400)]
)
def test_how_long_to_wait_is_never_less_than_told(told, waits):
    """In whole seconds; half a minute where Graph does not say."""
    assert waits == problem_of(graph.GraphThrottled("x", told_wait=told)).retry_after_seconds


def test_what_graph_told_is_kept():
    """For the answer and the log."""
    problem = problem_of(
        graph.GraphFailed(
            "x", code="Busy", told_wait=1.5, graph_request_id="g", client_request_id="c"
        )
    )

    assert ("Busy", "g", "c", 2) == (
        problem.graph_error_code,
        problem.graph_request_id,
        problem.client_request_id,
        problem.retry_after_seconds,
    )
    assert problem_of(graph.GraphFailed("x")).retry_after_seconds is None
