"""csv_export.py: CSV that comes back as it was, and that no spreadsheet runs.

That no cell is a formula, whatever it is, is asked by tests/fuzz/output.py.
"""

import pytest

from reprocess_http.csv_export import escape_formula, to_csv


def test_a_whole_sheet():
    """A line of names, CRLF, quotes only where they are needed, an empty cell for the unknown."""
    columns = ("id", "name", "hours", "removal")
    rows = [
        {"id": "a-1", "name": 'Vance, "Adele"', "hours": 0.5, "removal": True},
        {"id": "a-2", "name": "Zoë 李 🙂\r\nnext", "hours": 0, "removal": False},
        {"id": "a-3", "name": "=1\ud800"},
    ]
    names = "\ufeffid,name,hours,removal\r\n"
    first, second = 'a-1,"Vance, ""Adele""",0.5,true\r\n', 'a-2,"Zoë 李 🙂\r\nnext",0,false\r\n'

    assert names + first + second + "a-3,'=1?,,\r\n" == to_csv(columns, rows).decode()
    assert names == to_csv(columns, []).decode()


@pytest.mark.parametrize("text", [
    "", "Adele", "Zoë", "李", "(External) Bob", "a=b", "a-b, c", "adele@x.example", "2026-11-24T10:00:00Z", "'=1",
])  # fmt: skip
def test_a_text_that_begins_no_formula_stays(text):
    assert text == escape_formula(text)


@pytest.mark.parametrize("text", [
    '~=HYPERLINK("http://x","y")', "~+49 30 1", "~-1", "~@SUM(1)", "~  =1", '~"=1"', "~\t~=1", "~\tx", "~\rx",
    "~\nx", "~\x00=1", "~\u200b=1", "~\xa0=1", "~\ufeff=1", "~＝1", "~﹢1", "~－1", "~＠x", "~−1",
    "a;~=1", "a|~=1", "a\t~=1", "a\r\n~=1", "a,~=1", 'a;~"=1"', "a;b;~-c",
])  # fmt: skip
def test_an_apostrophe_stands_before_what_begins_like_a_formula(text):
    """Where the tilde is, also behind what a spreadsheet may take for a separator."""
    assert text.replace("~", "'") == escape_formula(text.replace("~", ""))
