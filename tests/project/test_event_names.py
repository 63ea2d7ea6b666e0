"""Queries, alerts and documents name only events and fields that the app logs (events.py).

Not for: whether a query is KQL, or when an alert fires (test_queries.py).

A query that names another event finds nothing, and an alert on it stays silent. Two names were
given another meaning, which names alone cannot show: those queries are run on lines of both.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.support import kusto
from tests.support.event_schema import COMMON, EVENTS

COMPARED = re.compile(
    r'(?:\bevent|tostring\(line\.event\))\s*(?:[!=]=|=~|!?in~?\s*(?=\())\s*(\([^)]*\)|"[^"]*")'
)
QUERIES = kusto.queries()
DOCUMENTS = [kusto.PROJECT / "README.md", *sorted((kusto.PROJECT / "docs").glob("*.md"))]
OF_ANY = {"infra/queries/graph-calls.kql"}  # joins by a call's id, whatever the event
OPERATIONS = (kusto.PROJECT / "docs/operations.md").read_text()


def fields_of(*events):
    """The fields that lines of these events may have."""
    known = " ".join([COMMON, *(EVENTS.get(one, "") for one in events)])
    return {"event", *known.split()}


def unknown_names(query):
    """The events and fields of `line` that a query names and no such line has."""
    compared = " ".join(COMPARED.findall(query))
    events = set(re.findall('"([^"]*)"', compared))
    fields = fields_of(*(events or EVENTS))  # a query that names no event reads lines of any
    return (events - set(EVENTS)) | (set(re.findall(r"\bline\.(\w+)", query)) - fields)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_events_and_fields_that_are_logged(name):
    """Each compared text is an event; each field is one of the events that the query names."""
    assert set() == unknown_names(QUERIES[name])
    assert "line.event" not in QUERIES[name] or COMPARED.search(QUERIES[name]) or name in OF_ANY


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_events_and_fields_that_are_logged(path):
    """In "line `x`" and "event `x`", and in whole lines. The table of events: test_documents.py."""
    text = path.read_text()
    named = set(re.findall(r"(?:line|event)s? `([^`]+)`", text))
    lines = [json.loads(one) for one in re.findall(r'^\{"event": .*\}$', text, re.MULTILINE)]

    assert set() == named - set(EVENTS)
    assert [] == [
        set(one) - fields_of(one["event"]) for one in lines if set(one) - fields_of(one["event"])
    ]


def test_operations_has_a_section_for_each_alert_of_infra():
    """And none for another one."""
    section = OPERATIONS.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    files = kusto.PROJECT.glob("infra/alerts/*.kql")

    assert sorted(one.stem for one in files) == sorted(re.findall(r"(?m)^### (\S+)$", section))


# What the queries find that name one of the two, or that leave out sweeps whose list failed.
