"""accept.py: which form a caller gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprocess_http.accept import best

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("Text/CSV; charset=utf-8; header=present", CSV),
        ("text/*", CSV),
        ("application/*, text/*", JSON),
        ("application/json, text/csv", JSON),
        ("text/csv, application/json", JSON),
        ("text/csv, application/json;q=0.9", CSV),
        ("text/csv;q=0.8, application/json;q=0.9", JSON),
        ("text/csv ; Q=0.999 , application/json ; q=0.998", CSV),
        # named exactly, it is meant; a browser and axios name other things
        ("text/csv, */*", CSV),
        ("text/*, */*", CSV),
        ("text/csv;q=0.5, */*;q=0.8", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", JSON),
        ("application/json, text/plain, */*", JSON),
        # the most exact range has the say, also when it says no
        ("text/csv;q=0, text/*", JSON),
        ("application/json;q=0, */*", CSV),
        ("text/csv;q=0.1, text/*;q=1, application/json;q=0.5", JSON),
        ("text/csv;q=0.1, text/csv;q=0.7, application/json;q=0.5", CSV),
        # none is acceptable
        ("image/png", JSON),
        ("application/json;q=0", JSON),
        ("application/json;q=0, text/csv;q=0", JSON),
        # no header at all is better than one that cannot be read
        ("text/csv;q=2", JSON),
        ("text/csv;q=-1", JSON),
        ("text/csv;q=0.1234", JSON),
        ("text/csv;q=", JSON),
        ("text/csv;q=nan", JSON),
        (",,;;q=1,/,text/csv", CSV),
        ("csv", JSON),
    ],
)
def test_the_form(header, form):
    """By weight, then by how exactly it is named, then JSON."""
    assert form == best(header, (JSON, CSV))


@given(st.text(alphabet="texcsv/*;q=,.019 aplion\t", max_size=60) | st.text(max_size=60))
def test_whatever_is_sent_there_is_a_form(header):
    """A header is nobody's error."""
    assert best(header, (JSON, CSV)) in {JSON, CSV}
