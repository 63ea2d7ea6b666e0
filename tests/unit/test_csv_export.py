"""csv_export.py: CSV that comes back as it was, and that no spreadsheet runs."""

import csv
import io
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reprocess_http import csv_export
from reprocess_http.csv_export import escape_formula

NAMES = ("requestId", "requestorName", "hoursLeft", "removal")
TEXTS = st.text(max_size=30) | st.text(alphabet="=+-@＝\t\r\n,;|\"' a\u200b\xa0", max_size=12)


def sheet(names, rows):
    return csv_export.to_csv(names, rows).decode()


def read(text):
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def test_a_whole_sheet():
    """A line of names, CRLF, quotes only where they are needed, an empty cell for the unknown."""
    rows = [
        {"requestId": "a-1", "requestorName": 'Vance, "Adele"', "hoursLeft": 0.5, "removal": True},
        {
            "requestId": "a-3", "requestorName": "Zoë 李 🙂\r\nnext", "hoursLeft": 0,
            "removal": False,
        },
    ]  # fmt: skip
    names = "\ufeffrequestId,requestorName,hoursLeft,removal\r\n"
    first, second = 'a-1,"Vance, ""Adele""",0.5,true\r\n', 'a-3,"Zoë 李 🙂\r\nnext",0,false\r\n'

    assert (names, names + first + second) == (sheet(NAMES, []), sheet(NAMES, rows))
    assert names + "1,,,\r\n" == sheet(NAMES, [{"requestId": 1}])


def test_a_column_that_nobody_named_is_an_error():
    """Rows and names are made in one place; they cannot differ silently."""
    with pytest.raises(ValueError, match="other"):
        sheet(NAMES, [{"other": 1}])


@pytest.mark.parametrize("text", [
    "", "Adele", "Zoë", "李", "(External) Bob", "a=b", "a-b, c", "adele@x.example", "2026-11-24T10:00:00Z", "'=1",
])  # fmt: skip
def test_a_text_that_begins_no_formula_stays(text):
    assert text == escape_formula(text)


@pytest.mark.parametrize("text", [
    '~=HYPERLINK("http://x","y")', "~+49 30 1", "~-1", "~@SUM(1)", "~  =1", '~"=1"', "~\t~=1", "~\tx", "~\rx",
    "~\nx", "~\x00=1", "~\u200b=1", "~\xa0=1", "~\ufeff=1", "~＝1", "~﹢1", "~－1", "~＠x", "~−1",
    "a;~=1", "a\t~=1", "a\r\n~=1", "a,~=1", 'a;~"=1"', "a;b;~-c",
])  # fmt: skip
def test_an_apostrophe_stands_before_what_begins_like_a_formula(text):
    """Where the tilde is, also behind what a spreadsheet may take for a separator."""
    assert text.replace("~", "'") == escape_formula(text.replace("~", ""))


CONTROLS = ("\t", "\r", "\n", "\x00")


def begins_a_formula(cell):
    """A judgement of its own: skip what cannot be seen, then look."""
    seen = cell.lstrip('" ')
    while seen and unicodedata.category(seen[0])[0] in "CZ":
        seen = seen[1:].lstrip('" ')
    return unicodedata.normalize("NFKC", seen[:1]).startswith(("=", "+", "-", "@", "\u2212"))


@given(st.lists(TEXTS, min_size=1, max_size=4))
@example(["=1"])
@example([";=1"])
@example(["\u200b＝1"])
def test_no_cell_is_a_formula_and_nothing_else_is_changed(texts):
    """Whatever the names are; taking the apostrophes away gives them back."""
    rows = [{"requestId": "id", "requestorName": text} for text in texts]

    (_, *cells) = read(sheet(NAMES, rows))

    assert not any(begins_a_formula(cell) for row in cells for cell in row)
    assert not any(cell.startswith(CONTROLS) for row in cells for cell in row)
    assert [text.replace("'", "") for text in texts] == [row[1].replace("'", "") for row in cells]


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(";\t|"))
@example(["a;=1"], ";")
@example(['a;"=1"'], ";")
def test_nor_where_a_spreadsheet_expects_another_separator(texts, separator):
    """In half of Europe a list is separated by semicolons."""
    text = sheet(NAMES, [{"requestId": "id", "requestorName": one} for one in texts])
    cells = [cell for line in text[1:].splitlines() for cell in line.split(separator)]

    assert not any(begins_a_formula(cell) for cell in cells)
