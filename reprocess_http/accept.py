"""Which of the forms of an answer a caller likes best, by its `Accept` header.

RFC 9110, 12.5.1. Not for: its parameters other than `q`, which no form of ours has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def best(header: str, offers: Sequence[str]) -> str:
    """Return the offer with the highest weight; of equals that which is named most exactly.

    Then the first one, also when none is acceptable: RFC 9110 leaves that to the server, and an
    answer in another form tells more than 406 would.
    """
    ranges = list(_ranges(header))
    liked = {offer: _liked(offer, ranges) for offer in offers}
    return max(offers, key=lambda offer: liked[offer])


def _liked(offer: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """Return weight and exactness of the range that fits an offer most exactly."""
    kind = offer.partition("/")[0]
    for exactness, name in ((2, offer), (1, f"{kind}/*"), (0, "*/*")):
        weights = [weight for range_, weight in ranges if range_ == name]
        if weights:
            return max(weights), exactness if max(weights) else 0
    return 0.0, 0


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    """Yield media ranges in lower case with their weights; one with a wrong weight is left out."""
    for text in header.lower().split(","):
        name, *parameters = (part.strip() for part in text.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        if _WEIGHT.fullmatch(weight):
            yield name, float(weight)
