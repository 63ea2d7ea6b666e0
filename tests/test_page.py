"""The page of `GET /api/report` as it is sent. What it does is tested in e2e/test_report.py."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re

import pytest

from reprocess_http import failures_answer, page, problems, webhook

assert failures_answer
assert webhook
WORDS = (page.PARTS / "words.js").read_text()


def subclasses(kind):
    """All problems that have a name."""
    below = {one for child in kind.__subclasses__() for one in subclasses(child)}
    return below | ({kind} if kind.name else set())


def hash_of(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_comes_with_headers_that_shut_everything_else_out():
    """The hashes are those of the very texts in the page."""
    answer = page.answer("", "run-1")
    text = answer.get_body().decode()
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    [script] = re.findall(r"<script.*?>(.*?)</script>", text, re.DOTALL)

    assert {
        "content-security-policy": (
            f"default-src 'none'; script-src 'sha256-{hash_of(script)}'; "
            f"style-src 'sha256-{hash_of(style)}'; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "vary": "Accept-Encoding",
        "x-content-type-options": "nosniff",
        "x-correlation-id": "run-1",
    } == {name.lower(): value for name, value in answer.headers.items()}
    assert ("text/html", "utf-8", 200) == (answer.mimetype, answer.charset, answer.status_code)


def test_a_browser_that_takes_it_packed_gets_the_same_page():
    packed = page.answer("gzip, deflate, br", "run-1")

    assert "gzip" == packed.headers["Content-Encoding"]
    assert page.answer("", "run-1").get_body() == gzip.decompress(packed.get_body())
    assert 30_000 > len(packed.get_body())


def test_every_part_is_in_the_page():
    """A script that is in the folder but not in the list would be dead."""
    parts = {part.name for part in page.PARTS.iterdir()}

    assert {"page.html", "style.css", *page.SCRIPTS} == parts


@pytest.mark.parametrize("part", sorted(page.PARTS.iterdir()), ids=lambda part: part.name)
def test_no_part_makes_markup_of_a_text_or_calls_another_host(part):
    """The policy forbids both; here it is seen before a browser does."""
    text = re.sub(r"http://www\.w3\.org/2000/svg", "", part.read_text())

    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
    assert [] == re.findall(r"https?://|localStorage|sessionStorage|indexedDB|cookie", text)
    assert 300 >= len(text.splitlines())


@pytest.mark.parametrize("name", sorted(one.name for one in subclasses(problems.Problem)))
def test_every_problem_type_has_plain_words(name):
    assert re.search(rf'^  "?{name}"?: \["[A-Z]', WORDS, re.MULTILINE)
