"""The page of `GET /api/report` as it is sent. What it does is tested in e2e/test_page.py."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re

import pytest

from reprocess_http import page
from reprocess_http.responses import PROBLEMS

WORDS = (page.PARTS / "words.js").read_text()


def hash_of(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_comes_with_headers_that_shut_everything_else_out():
    """The hashes are those of the very texts in the page."""
    answer = page.answer("", "run-1")
    text = answer.get_body().decode()
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    [script] = re.findall(r"<script.*?>(.*?)</script>", text, re.DOTALL)

    assert {
        "content-security-policy": f"default-src 'none'; script-src 'sha256-{hash_of(script)}'; style-src 'sha256-{hash_of(style)}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        "cache-control": "no-store", "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin", "referrer-policy": "no-referrer",
        "vary": "Accept-Encoding", "x-content-type-options": "nosniff", "x-correlation-id": "run-1",
    } == {name.lower(): value for name, value in answer.headers.items()}  # fmt: skip
    assert ("text/html", "utf-8", 200) == (answer.mimetype, answer.charset, answer.status_code)


@pytest.mark.parametrize("header", ["gzip, deflate, br", "GZIP;q=0.1", "*"])
def test_a_browser_that_accepts_gzip_gets_the_same_page_smaller(header):
    gzipped, plain = page.answer(header, "run-1"), page.answer("", "run-1").get_body()

    assert "gzip" == gzipped.headers["Content-Encoding"]
    assert plain == gzip.decompress(gzipped.get_body())
    assert (True, True) == (len(gzipped.get_body()) < 40_000, len(plain) < 120_000)


@pytest.mark.parametrize("header", ["gzip;q=0", "br", "gzip;q=0, *"])
def test_a_browser_that_does_not_accept_gzip_gets_none(header):
    """Nor one whose weight is nothing [seen: the app on the host itself]."""
    assert "Content-Encoding" not in page.answer(header, "run-1").headers


@pytest.mark.parametrize(
    ("level", "is_on", "sign_in"),
    [("function", "", "key"), ("anonymous", "True", "account"), ("anonymous", "", "none")],
)
def test_the_page_knows_the_one_way_to_sign_in_that_works(monkeypatch, level, is_on, sign_in):
    monkeypatch.setattr(page.auth, "LEVEL", level)
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", is_on)

    assert f'<body data-sign-in="{sign_in}">' in page.answer("", "run-1").get_body().decode()


def test_no_line_of_comment_is_sent():
    text = page.answer("", "run-1").get_body().decode()

    assert [] == re.findall(r"^ *(?://|/\*\*|\*\s).*", text.split("<script", 1)[1], re.MULTILINE)


def test_every_part_is_in_the_page():
    """A script that is in the folder but not in the list would be dead."""
    parts = {part.name for part in page.PARTS.iterdir()}

    assert {"page.html", *page.STYLES, *page.SCRIPTS} == parts


@pytest.mark.parametrize("part", sorted(page.PARTS.iterdir()), ids=lambda part: part.name)
def test_no_part_makes_markup_of_a_text_or_calls_another_host(part):
    """The policy forbids both; here it is seen before a browser does."""
    text = re.sub(r"http://www\.w3\.org/2000/svg", "", part.read_text())

    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
    text = text.replace("/^https:\\/\\//", "")  # of the portal's address, which a link may have
    assert [] == re.findall(r"https?:\\?/|localStorage|indexedDB|cookie", text)
    kept = re.findall(r"sessionStorage\.?(.*?)[,)]", text)
    assert {'setItem("view"', 'getItem("view"', 'removeItem("view"'} >= set(kept)  # never a key
    assert 300 >= len(text.splitlines())


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_every_problem_type_has_plain_words(name):
    assert re.search(rf'^  "?{name}"?: \["[A-Z]', WORDS, re.MULTILINE)
