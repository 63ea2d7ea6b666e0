"""The page of `GET /api/report`: one answer, put together from the files in `report/`.

Not for: what the page shows or does. It holds no data: it fetches `/api/requests`, which stands
behind the door. So anybody may load it, and nothing is built before it is deployed.

The style and the scripts are put into the page, and the Content-Security-Policy allows these very
texts by their hashes and nothing else: no other script, no address but our own, no markup made of a
text (`require-trusted-types-for`), no frame around it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import azure.functions as func

PARTS = Path(__file__).with_name("report")
# In the order in which they need each other; together they are one script.
SCRIPTS = (
    "words.js",
    "calls.js",
    "rows.js",
    "run.js",
    "elements.js",
    "table.js",
    "charts.js",
    "glance.js",
    "panel.js",
    "main.js",
    "controls.js",
)
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
    """The page as it is sent, plain and packed, and what the browser may do with it."""

    plain: bytes
    packed: bytes
    policy: str


def answer(accept_encoding: str, correlation_id: str) -> func.HttpResponse:
    """Return the page; every answer carries the correlation id.

    It is packed for a browser that takes it so: nothing in front of the app does that.
    """
    page = _page()
    is_packed = "gzip" in accept_encoding.lower()
    return func.HttpResponse(
        page.packed if is_packed else page.plain,
        mimetype="text/html",
        charset="utf-8",
        headers={
            "x-correlation-id": correlation_id,
            "Content-Security-Policy": page.policy,
            **({"Content-Encoding": "gzip"} if is_packed else {}),
            **HEADERS,
        },
    )


@cache
def _page() -> Page:
    """Return the page, which is made once."""
    style, script = _read("style.css"), "\n".join(map(_read, SCRIPTS))
    text = _read("page.html").replace(STYLE_TAG, f"<style>{style}</style>")
    text = text.replace(SCRIPT_TAG, f'<script type="module">{script}</script>')
    plain = text.encode()
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return Page(plain, gzip.compress(plain, mtime=0), policy)


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
