"""The page of `GET /api/report`: one answer, put together from the files in `report/`.

Not for: what the page shows or does. It holds no data: it fetches `/api/requests`, which
authenticates its caller. So the page is open to all, and nothing is built before it is deployed.

The styles and the scripts are put into the page, and the Content-Security-Policy allows these very
texts by their hashes and nothing else: no other script, no address but our own, no markup made of a
text (`require-trusted-types-for`), no frame around it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import azure.functions as func
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from reprocess_http import auth

PARTS = Path(__file__).with_name("report")
STYLES = ("style.css", "narrow.css")
# In the order in which they need each other; together they are one script.
SCRIPTS = (
    "words.js", "times.js", "calls.js", "model.js", "view.js", "follow.js", "run.js",
    "elements.js", "tip.js", "cells.js", "table.js", "causes.js", "charts.js", "glance.js",
    "dialogs.js", "panel.js", "export.js", "main.js", "controls.js",
)  # fmt: skip
# How callers sign in is written here: the page offers only what works.
SIGN_IN = 'data-sign-in=""'
# Whole lines of comment in a script; they are not sent.
COMMENTS = re.compile(r"^ *(//|/\*\*|\*( |/|$)).*\n", re.MULTILINE)
STYLE_TAG, SCRIPT_TAG = "<style></style>", '<script type="module"></script>'
HEADERS = {
    # A page from a cache would be older than the app that it talks to.
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, slots=True)
class Page:
    """The page as it is sent, with and without gzip, and what the browser may do with it."""

    html: bytes
    gzipped: bytes
    policy: str


def answer(accept_encoding: str, correlation_id: str) -> func.HttpResponse:
    """Return the page; every answer carries the correlation id.

    It is gzipped for a browser that accepts that: nothing in front of the app does it.
    """
    page = _page(_sign_in())
    is_gzipped = parse_accept_header(accept_encoding, Accept).quality("gzip") > 0
    return func.HttpResponse(
        page.gzipped if is_gzipped else page.html,
        mimetype="text/html",
        charset="utf-8",
        headers={
            "x-correlation-id": correlation_id,
            "Content-Security-Policy": page.policy,
            **({"Content-Encoding": "gzip"} if is_gzipped else {}),
            **HEADERS,
        },
    )


@cache
def _page(sign_in: str) -> Page:
    """Return the page for this way to sign in; it is put together once."""
    style = "".join(map(_read, STYLES))
    script = COMMENTS.sub("", "\n".join(map(_read, SCRIPTS)))
    text = _read("page.html").replace(STYLE_TAG, f"<style>{style}</style>")
    text = text.replace(SIGN_IN, f'data-sign-in="{sign_in}"')
    text = text.replace(SCRIPT_TAG, f'<script type="module">{script}</script>')
    html = text.encode()
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return Page(html, gzip.compress(html, mtime=0), policy)


def _sign_in() -> str:
    """Return what callers sign in with: a function key, or an account where that is configured."""
    if auth.LEVEL == "function":
        return "key"
    return "account" if auth.platform_authenticates() else "none"


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
