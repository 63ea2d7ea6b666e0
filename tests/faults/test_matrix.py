"""A part of the fault matrix in every run of the tests; `make faults` tries the whole.

The rules are in matrix.py: nothing is lost or sent twice, every caller is answered in time and
truthfully, every operation ends, and no secret is shown.
"""

from __future__ import annotations

import itertools

import pytest

from tests.faults.faulty import FAULTS
from tests.faults.matrix import HOW, cases, tried
from tests.faults.operations import TARGETS

# A connection that a fault has broken is closed by the garbage collection at times.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _part():
    every = list(cases())
    for n, (fault, how) in enumerate(itertools.product(FAULTS, HOW)):
        fitting = [one for one in every if (one.fault, one.how) == (fault, how)]
        if fitting:
            yield fitting[n % len(fitting)]


PART = list(_part())  # each fault once in each way, in one operation after the other


@pytest.mark.parametrize("case", PART, ids=str)
def test_whatever_the_fault_every_promise_is_kept(peers, case):
    seen = tried(peers, case)

    assert () == seen.wrong, seen


def test_the_part_has_every_fault_and_every_place():
    """So none is tried by `make faults` only."""
    assert {fault.name for fault in FAULTS} == {case.fault.name for case in PART}
    assert set(TARGETS) == {case.target for case in PART}
