"""What failed requests have in common: the cause that each one shares with others.

Not for: mending it. v1.0 often says nothing about a failed delivery; then the other failures tell.
By the first that applies, counted over all failed requests:

    graph     Graph's words on the delivery, else on the reprocess that it refused
    package   three or more people fail in this access package: the package is the trouble
    person    this person fails in two or more access packages: the account is the trouble
    unknown   none of these
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from attempts import COUNTED, MAX_WORDS, AttemptRecord, Outcome

if TYPE_CHECKING:
    from graph import Request

PACKAGE_PEOPLE, PERSON_PACKAGES = 3, 2  # so many failures are no coincidence
CUT_LENGTHS = {MAX_WORDS, 500}  # of words that the table and graph/request.py have cut
COMPARED = 80  # characters of cut words: where they end depends on the names in them
SAME_AS_STATE = {"", "deliveryfailed", "partiallydelivered"}
_ID = re.compile(
    r"(?<!\w)(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|S-1(?:-\d+){2,})(?!\w)",
    re.IGNORECASE,
)
# URLs, e-mail addresses and user principal names, host names of three parts.
_REST = r"""[^\s"'<>(),;]*[^\s"'<>(),;.:!?]"""
_ADDRESS = re.compile(
    rf"https?://{_REST}"
    r"|(?<![\w.+%#-])[\w.+%#-]+(?:'[\w.+%#-]+)*@[\w.-]*\w"
    rf"|(?<![\w.-])(?:[a-z0-9-]+\.){{2,}}[a-z]{{2,}}(?:/(?:{_REST})?)?"
)
_QUOTED = re.compile(
    r"""(?<!\w)(?:'(?:\S|\S.*?\S)'|"[^"]+"|\u201c[^\u201d]+\u201d|\u2018[^\u2019]+\u2019)(?!\w)"""
)
_NUMBER = re.compile(r"(?<!\w)\d{4}-\d\d-\d\d(?:[T ][\d:.]+Z?)?(?!\w)|(?<!\w)\d{4,}(?!\w)")
# What tells one error from another stays, also in quotes.
_CODE = re.compile(
    r"AADSTS\d+|(?:Request|Directory|Authorization|Authentication)_\w+|Invalid[A-Z]\w*"
    r"|\w*[a-z](?:NotFound|Denied|Error|Exception|Exceeded|Exists|Owner|Requests)"
    r"|UnAuthorized|NoLicense|(?:HTTP )?[1-5]\d\d"
)


class CauseKind(StrEnum):
    """On what a cause rests."""

    GRAPH = "graph"
    PACKAGE = "package"
    PERSON = "person"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause. `text`: Graph's words, masked; or the name of the access package or the person."""

    kind: CauseKind
    text: str
    id: str

    @classmethod
    def of(cls, kind: CauseKind, text: str, key: str) -> Cause:
        """Return the cause of this kind with this key, which alone decides the id."""
        digest = hashlib.sha256(f"{kind}\n{key}".encode(errors="replace"))
        return cls(kind, text, digest.hexdigest()[:12])


UNKNOWN = Cause.of(CauseKind.UNKNOWN, CauseKind.UNKNOWN.value, "")


class Causes:
    """Knows of every failed request who fails where, and so the cause of each."""

    def __init__(self) -> None:
        """Start without any request."""
        self._people: dict[str, set[str]] = defaultdict(set)  # by access package
        self._packages: dict[str, set[str]] = defaultdict(set)  # by person

    def add(self, request: Request) -> None:
        """Count one failed request; more than once changes nothing."""
        package, person = request.access_package_id, person_of(request)
        if package and person:
            people, packages = self._people[package], self._packages[person]
            if len(people) < PACKAGE_PEOPLE:
                people.add(person)
            if len(packages) < PERSON_PACKAGES:
                packages.add(package)

    def of(self, request: Request, record: AttemptRecord) -> Cause:
        """Return the cause of one of these requests; `record` has its history."""
        if masked := mask(_delivery_words(request) or _refusal_words(record)):
            return Cause.of(CauseKind.GRAPH, masked, masked)
        package, person = request.access_package_id, person_of(request)
        if len(self._people.get(package, ())) >= PACKAGE_PEOPLE:
            return Cause.of(CauseKind.PACKAGE, request.access_package_name or package, package)
        if len(self._packages.get(person, ())) >= PERSON_PACKAGES:
            name = request.requestor_name or request.requestor_email or person
            return Cause.of(CauseKind.PERSON, name, person)
        return UNKNOWN


def person_of(request: Request) -> str:
    """Return who asked, by id; a guest who is not in the directory yet has an address only."""
    return request.requestor_id or request.requestor_email.lower()


def _delivery_words(request: Request) -> str:
    """Return what Graph says of the delivery; nothing where it only repeats the state."""
    bare = re.sub(r"[\W_]", "", request.status_text).lower()
    return "" if bare in {*SAME_AS_STATE, request.state.lower()} else request.status_text


def _refusal_words(record: AttemptRecord) -> str:
    """Return why Graph refused the last attempt that it judged; nothing where it accepted that."""
    judged = next((one for one in record.history if one.outcome in COUNTED), None)
    return judged.words if judged and judged.outcome is Outcome.REFUSED else ""


def mask(words: str) -> str:
    """Return words without what differs between two requests that fail for the same cause.

    Ids, addresses, names in quotes, and numbers and times of four and more digits are masked; error
    codes and HTTP statuses are not.
    """
    masked = _ADDRESS.sub("<address>", words)
    masked = _QUOTED.sub(_masked_quote, _ID.sub("<id>", masked))
    masked = " ".join(_NUMBER.sub("<number>", masked).split()).rstrip(". ")
    return masked[:COMPARED].rstrip() if len(words) in CUT_LENGTHS else masked


def _masked_quote(found: re.Match[str]) -> str:
    quoted = found[0]
    is_code = _CODE.fullmatch(quoted[1:-1])
    return quoted if is_code else f"{quoted[0]}<name>{quoted[-1]}"
