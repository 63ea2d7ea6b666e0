"""A part of the fault matrix, in every run of the tests: what it finds is what is written down.

`make faults` tries all cells. The rules: nothing is lost, nothing is sent to Graph twice, everything
ends in its time, and whatever does not go well is in the log.
"""

from __future__ import annotations

import pytest

from tests.faults.faulty import FAULTS
from tests.faults.matrix import BEGIN, DOCUMENT, END, SLACK, Cell, cells, tried
from tests.faults.operations import OPERATIONS
from tests.faults.world import Parts
from tests.local_app import fresh, quiet

# A connection that a fault has broken is closed by the garbage collection at times.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def parts(running, azurite):
    quiet(running)
    with Parts(running, azurite) as made:
        yield made
    running.control("DELETE", "requests")
    fresh(running)


def written() -> dict[str, list[list[str]]]:
    """Return the rows of each operation's table, as cells."""
    text = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    tables = {}
    for part in text.split("\n### ")[1:]:
        lines = part.splitlines()
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]
        tables[lines[0]] = rows
    return tables


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_the_cut_is_as_it_is_written(parts, operation):
    """Each of its cells keeps the rules, and its row is in docs/reliability.md."""
    found = [cell for cell in cells(parts, operation, cut=True) if isinstance(cell, Cell)]

    assert [] == [(cell.fault, cell.once, cell.wrong) for cell in found if cell.wrong]
    rows = {(row[0], row[1]): row for row in written()[operation.name]}
    for cell in found:
        fault, how, *rest = cell.row
        got, _time, *others = rows[fault, how][2:]
        assert rest == [got, *others], (fault, how)


@pytest.mark.parametrize("name", ["HTTP reprocess", "attempts table: HTTP records"])
def test_an_answer_that_drips_in_is_left_in_time(parts, name):
    """No time-out of a socket ends headers that come byte by byte: the deadline does."""
    (fault,) = (one for one in FAULTS if one.name == "slow drip of the headers")
    (operation,) = (one for one in OPERATIONS if one.name == name)

    cell = tried(parts, operation, fault, once=False)

    assert () == cell.wrong
    assert cell.seconds < operation.seconds + SLACK


def test_every_fault_times_every_operation_is_written_down():
    """No cell is missing, and one that was not tried says why."""
    tables = written()
    assert [one.name for one in OPERATIONS] == list(tables)
    every = [(fault.name, how) for fault in FAULTS for how in ("once", "for good")]
    for rows in tables.values():
        assert every == [(row[0], row[1]) for row in rows]
        assert all(len(row) == 7 or row[2].startswith("not tried: ") for row in rows)
