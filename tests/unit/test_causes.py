"""planning/causes.py: which failed requests have a cause in common, and on what that rests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attempts import AttemptRecord, Entry, Outcome, blank
from graph import Request
from planning.causes import UNKNOWN, CauseKind, Causes, mask

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def failed(number=1, words="", person="", package="", **more):
    more |= {"access_package_id": package, "requestor_id": person, "status_text": words}
    return Request(str(uuid.UUID(int=number)), "deliveryFailed", "userAdd", NOW, **more)


def tried(*outcomes):
    """A record whose attempts, newest first, ended so; refused ones have words."""
    words = {Outcome.REFUSED: "Locked (HTTP 400 Locked)", Outcome.FAILED: "Broken (HTTP 500)"}
    history = tuple(Entry(NOW, "sweep", one, words.get(one, "")) for one in outcomes)
    return AttemptRecord(failed().id, outcome=outcomes[0], history=history)


def causes_of(*requests):
    """The kind and text of each request's cause, among all of them."""
    causes = Causes()
    for one in requests:
        causes.add(one)
    found = [causes.of(one, blank(one.id)) for one in requests]
    return [(one.kind.value, one.text) for one in found]


# -- words --


@pytest.mark.parametrize(("words", "masked"), [
    ("User 4711 not found in https://contoso.sharepoint.com/sites/x", "User <number> not found in <address>"),
    ("Site contoso.sharepoint.com/sites/x.", "Site <address>"),
    ("No mailbox for 'o'brien@contoso.com', nor o'b@x.example.", "No mailbox for '<name>', nor <address>"),
    ("Group 7999249E-249e-4999-9e24-99799e249979 is gone", "Group <id> is gone"),
    ("The user's group 'SG_Sales' isn't there.  Don't wait", "The user's group '<name>' isn't there. Don't wait"),
    ('Group "Sales, East" of “Contoso”', 'Group "<name>" of “<name>”'),
    ("AADSTS50020: User account 'a_b.com#EXT#@c.example' from 'https://sts.windows.net/x/'. Timestamp: 2026-01-31 12:00:00Z",
     "AADSTS50020: User account '<name>' from '<name>'. Timestamp: <number>"),
    ("'InvalidFilter' (HTTP 400 InvalidFilter)", "'InvalidFilter' (HTTP 400 InvalidFilter)"),
    ("0x80070005 and 404 stay", "0x80070005 and 404 stay"),
])  # fmt: skip
def test_words_are_masked(words, masked):
    """What differs between two requests goes, what tells one error from another stays."""
    assert masked == mask(words)
    assert masked == mask(masked)


# Graph's known codes: microsoft-graph-docs, concepts/errors, and issues of entitlement management.
CODES = (
    "AADSTS50020", "AADSTS50105", "AADSTS700016", "InvalidFilter", "InvalidModel", "UnAuthorized",
    "NoLicense", "CallerNotResourceOwner", "RoleNotFound", "ArgumentNullException", "UnknownError",
    "ResourceNotFound", "TooManyRequests", "Request_ResourceNotFound", "Request_BadRequest",
    "Directory_QuotaExceeded", "Authorization_RequestDenied", "InvalidRequestState",
    "HTTP 400", "HTTP 404", "404", "409",
)  # fmt: skip
TEMPLATES = (
    "User {number} not found in {address}",
    "{code}: account '{name}' ({id}) has no mailbox at {address}, error {number}.",
    'The group "{name}" is locked, {code}',
    "Resource '{code}' of {id};{code}",
    "{address}: ({code}) at {time}, trace {id}",
)
PARTS = st.fixed_dictionaries(
    {
        "number": st.integers(1000, 10**12).map(str),
        "id": st.uuids().map(str) | st.uuids().map(lambda one: one.hex.upper()),
        "name": st.from_regex(r"[A-Z][a-z]{2,9}([ _-][A-Z][a-z]{2,9}){1,3}", fullmatch=True),
        "address": st.from_regex(
            r"https://[a-z]{3,9}\.sharepoint\.com(/[a-zA-Z0-9_-]{1,9}){0,3}"
            r"|[a-z]{2,9}(\.[a-z]{2,9})?@[a-z]{2,9}\.example|[a-z]{3,9}\.sharepoint\.com/sites/[a-z]{1,9}",
            fullmatch=True,
        ),
        "time": st.datetimes(datetime(2015, 1, 1), datetime(2099, 1, 1)).map(  # noqa: DTZ001
            lambda at: at.isoformat(timespec="seconds") + "Z"
        ),
    }
)  # fmt: skip


@given(st.sampled_from(TEMPLATES), st.sampled_from(CODES), PARTS, PARTS)
def test_the_same_words_with_other_ids_are_one_cause(template, code, one, other):
    """Ids, addresses, names in quotes, numbers and times."""
    first, second = (failed(words=template.format(code=code, **parts)) for parts in (one, other))
    causes = Causes()

    assert causes.of(first, blank(first.id)) == causes.of(second, blank(second.id))


@given(st.sampled_from(TEMPLATES[1:]), st.sampled_from(CODES), st.sampled_from(CODES), PARTS)
def test_two_codes_are_never_one_cause(template, one, other, parts):
    """Wherever a code stands, also in quotes."""
    masked = [mask(template.format(code=code, **parts)) for code in (one, other)]

    assert (one == other) == (masked[0] == masked[1])


def test_words_that_were_cut_are_compared_by_their_beginning():
    """Where they end depends on the names in them."""
    text = "User account '{}' does not exist in tenant 'Contoso' and cannot access the application. Add it first. "
    cut = [(text.format(name) * 9)[:500] for name in ("Adele Vance", "Alex")]

    assert mask(cut[0]) == mask(cut[1]) == mask(text)[:80].rstrip()


@pytest.mark.parametrize(
    "words", ["", "DeliveryFailed", "deliveryfailed", "Delivery failed", "Partially delivered"]
)
def test_a_status_that_repeats_the_state_says_nothing(words):
    """v1.0 has no other word for it, as far as is known."""
    assert UNKNOWN == Causes().of(failed(words=words), blank(failed().id))


@pytest.mark.parametrize("words", ["Gruppe ist schreibgeschützt", "配信に失敗"])
def test_words_in_any_script_count(words):
    assert [("graph", words)] == causes_of(failed(words=f"{words}."))


@pytest.mark.parametrize(("outcomes", "text"), [
    ([Outcome.REFUSED], "Locked (HTTP 400 Locked)"),
    ([Outcome.CLAIMED, Outcome.FAILED, Outcome.REFUSED], "Locked (HTTP 400 Locked)"),
    ([Outcome.ACCEPTED, Outcome.REFUSED], "unknown"),  # what failed since is the delivery
    ([Outcome.UNKNOWN, Outcome.REFUSED], "unknown"),
    ([Outcome.FAILED], "unknown"),  # Graph's trouble, not the request's
])  # fmt: skip
def test_words_of_the_last_refusal(outcomes, text):
    """Where the delivery has none."""
    assert text == Causes().of(failed(), tried(*outcomes)).text
    assert "Broken" == Causes().of(failed(words="Broken"), tried(*outcomes)).text


# -- in common --


def test_three_people_in_one_package_are_the_packages_trouble():
    """Of two it may be chance. It is shown by its name."""
    two = [failed(n, person=f"p{n}", package="a", access_package_name="Sales") for n in (1, 2)]

    assert [("unknown", "unknown")] * 2 == causes_of(*two)
    assert ("package", "Sales") == causes_of(*two, failed(3, person="p3", package="a"))[0]
    assert [("unknown", "unknown")] * 3 == causes_of(*two, failed(3, person="p2", package="a"))


def test_one_person_in_two_packages_is_the_persons_trouble():
    """Also of a removal, which comes without its package."""
    two = [failed(n, person="p", package=f"a{n}", requestor_name="Adele") for n in (1, 2)]
    removal = failed(3, person="p", requestor_name="Adele")

    assert [("person", "Adele")] * 3 == causes_of(*two, removal)
    assert [("unknown", "unknown")] * 2 == causes_of(two[0], removal)


def test_the_package_comes_before_the_person_and_words_before_both():
    people = [failed(n, person=f"p{n}", package="a") for n in (1, 2, 3)]
    found = causes_of(*people, failed(4, person="p1", package="b"), failed(5, "Gone", "p1", "a"))

    assert ["package", "package", "package", "person", "graph"] == [kind for kind, _ in found]


def test_an_empty_package_or_person_is_none():
    """A guest who is not in the directory yet is known by the address."""
    assert {("unknown", "unknown")} == set(causes_of(*(failed(n, package="a") for n in range(4))))
    guests = [failed(n, package="a", requestor_email=f"G{n}@x.example") for n in range(3)]
    assert {("package", "a")} == set(causes_of(*guests))


def test_the_id_is_of_kind_and_key():
    """Twelve hex digits, the same in every process, and no other when a name changes."""
    causes, people = Causes(), [failed(n, person=f"p{n}", package="a") for n in (1, 2, 3)]
    for one in people:
        causes.add(one)
    named = failed(4, person="p4", package="a", access_package_name="Sales")

    unnamed, named, word = (
        causes.of(one, blank("x")) for one in (people[0], named, failed(words="a"))
    )
    assert (CauseKind.GRAPH, "e4657e908795") == (word.kind, word.id)
    assert unnamed.id == named.id != word.id
