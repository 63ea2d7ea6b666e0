"""list_query.py: which failed requests are asked for, and which page of them."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest

from attempts import AttemptRecord
from graph import Request
from planning.causes import Cause, CauseKind
from planning.view import evaluate, sort_key
from reprocess_http.list_query import query_of
from reprocess_http.responses import Problem
from settings import load

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PACKAGES = [f"aaaaaaaa-0000-4000-8000-{n:012d}" for n in range(4)]
SETTINGS = load({})


def failed(number, ago=DAY, kind="userAdd", state="deliveryFailed", package=PACKAGES[1]):
    request_id = f"{number:08x}-0000-4000-8000-000000000000"
    return Request(request_id, state, kind, NOW - ago, access_package_id=package)


def views(*requests, records=()):
    known = {one.request_id: one for one in records}
    found = [evaluate(one, known.get(one.id), SETTINGS, NOW) for one in requests]
    return sorted(found, key=sort_key)


def query(*, paged=True, text=None, **given):
    text = urlencode(given) if text is None else text
    return query_of(f"https://app.example/api/requests?{text}", paged=paged)


def numbers(found):
    return [int(one.request.id[:8], 16) for one in found]


SOME = views(
    failed(1, 6 * HOUR),
    failed(2, 5 * HOUR, state="PartiallyDelivered", package=PACKAGES[2].upper()),
    failed(3, 4 * HOUR, "adminRemove", package=""),
    failed(4, 15 * DAY, "SystemRemove"),
    failed(5, 3 * HOUR, "adminAdd"),
)


@pytest.mark.parametrize(("given", "expected"), [
    ({}, [3, 1, 2, 5, 4]),
    ({"plan": "Expired,COOLING"}, [4]),
    ({"plan": " due , expired"}, [3, 1, 2, 5, 4]),
    ({"state": "partiallydelivered"}, [2]),
    ({"type": "adminADD,systemremove"}, [5, 4]),
    ({"type": "removal"}, [3, 4]),
    ({"type": "Removal,adminAdd"}, [3, 5, 4]),
    ({"type": "userExtend"}, []),
    ({"accessPackage": PACKAGES[1].upper()}, [1, 5, 4]),
    ({"accessPackage": f"{PACKAGES[2]},{PACKAGES[3]}"}, [2]),
    ({"plan": "due", "type": "removal", "state": "deliveryFailed"}, [3]),
])  # fmt: skip
def test_a_filter_leaves_what_matches(given, expected):
    """Any of several values, all of several filters, in any case."""
    assert expected == numbers(query(**given).matching(SOME))


def test_a_cause_is_a_filter():
    """By its id, or several of them."""
    causes = {key: Cause.of(CauseKind.GRAPH, key, key) for key in "abc"}
    found = [evaluate(failed(n), None, SETTINGS, NOW, causes[key]) for n, key in enumerate("aba")]

    for keys, expected in (("a", [0, 2]), ("b", [1]), ("ab", [0, 1, 2]), ("c", [])):
        asked = query(cause=",".join(causes[key].id for key in keys))
        assert expected == numbers(asked.matching(found))


TYPE = (
    "'type' should be one or several of userAdd, userExtend, userUpdate, userRemove, adminAdd, "
    "adminUpdate, adminRemove, systemAdd, systemUpdate, systemRemove, onBehalfAdd, approverRemove, "
    "removal, comma separated."
)
PLAN = "'plan' should be one or several of due, cooling, exhausted, expired, excluded, comma separated."
STATE = "'state' should be one or several of deliveryFailed, partiallyDelivered, comma separated."
PACKAGE = "'accessPackage' should be one or several of the ids of access packages, GUIDs, comma separated."
CAUSE = "'cause' should be one or several of the causeIds of causes, 12 hexadecimal digits, comma separated."
LIMIT = "'limit' should be a whole number, 1 to 1000."
AFTER = "'after' should be that of a nextLink, unchanged."
ALL = "only accessPackage and after and cause and limit and plan and state and type."


@pytest.mark.parametrize(("text", "says"), [
    *((f"plan={one}", PLAN) for one in ("dew", "due,", "due;expired")),
    ("state=delivered", STATE),
    ("type=userAdd'", TYPE),
    (f"accessPackage={PACKAGES[1]}+or+1+eq+1", PACKAGE),
    *((f"cause={one}", CAUSE) for one in ("0123456789ag", "0123456789abc")),
    *((f"limit={one}", LIMIT) for one in ("0", "1001")),
    *((f"after={one}", AFTER) for one in ("x", "%C3%A9")),
    ("page=2", f"'page' is not a parameter here, {ALL}"),
])  # fmt: skip
def test_a_wrong_parameter_is_refused(text, says):
    """A misspelt filter must not pass for an empty list."""
    with pytest.raises(Problem) as caught:
        query(text=text)

    assert ("invalid-parameter", says) == (caught.value.name, caught.value.detail)


def test_csv_has_no_pages():
    """A limit with it is a mistake."""
    with pytest.raises(
        Problem, match="'limit' is not a parameter here, only accessPackage and cause"
    ):
        query(paged=False, limit="10")


# -- pages --


def pages(ordered, **given):
    """The numbers on every page, following the links."""
    found, following = [], urlencode(given)
    while following is not None:
        page, following = query(text=following).page(ordered)
        found.append(numbers(page))
    return found


FIVE = views(*(failed(n, (n + 1) * HOUR) for n in range(5)))


@pytest.mark.parametrize(("limit", "expected"), [
    ("2", [[4, 3], [2, 1], [0]]), ("5", [[4, 3, 2, 1, 0]]), ("4", [[4, 3, 2, 1], [0]])
])  # fmt: skip
def test_pages_together_are_the_list(limit, expected):
    """Each request once; the last page has no link."""
    assert expected == pages(FIVE, limit=limit)


def test_a_link_keeps_the_filters_and_no_key():
    """A caller may have put its function key into the address."""
    _, following = query(limit="2", type="userAdd", code="secret").page(FIVE)

    assert ["type", "limit", "after"] == [name for name, _ in parse_qsl(following)]


def test_two_hundred_come_unless_another_number_is_asked_for():
    """A thousand at most."""
    many = views(*(failed(n) for n in range(1200)))

    assert [200, 1000] == [len(query(**one).page(many)[0]) for one in ({}, {"limit": "1000"})]


def test_a_page_begins_after_the_last_one_of_the_page_before():
    """Wherever that would be by now: others have failed, and it was delivered itself."""
    before = [failed(n, n * HOUR) for n in range(1, 7)]
    now = [failed(9, 13 * DAY), *before[:3], *before[4:], failed(8, timedelta(minutes=30))]

    first, following = query(limit="3").page(views(*before))
    second, _ = query(text=following).page(views(*now))

    assert [[6, 5, 4], [3, 2, 1]] == [numbers(first), numbers(second)]


def test_a_page_may_end_with_one_that_cools_down():
    """There is a time in its cursor."""
    records = [
        AttemptRecord(failed(n).id, "c", NOW, count=1, last_attempt_at=NOW - n * HOUR / 60)
        for n in range(4)
    ]
    cooling = views(*(failed(n) for n in range(4)), records=records)

    assert [[3, 2], [1, 0]] == pages(cooling, limit="2")
