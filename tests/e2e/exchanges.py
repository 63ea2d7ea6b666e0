"""Read, send and write `examples/*/exchange.http`: what is sent to the app and what it answers.

Not for: real tenants. `python -m tests.e2e.exchanges` writes all answers anew, from a run of the
local app beside the emulated Graph; the tests send the same requests and compare.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
HOST = "https://<app>.azurewebsites.net"
SECRET = "made-up-for-the-examples"
SETTINGS = {
    "STATUS_LINK_SECRET": "made-up-for-the-examples-too-0123456789",
    "WEBHOOK_SECRETS": SECRET,
    "WEBHOOK_REQUEST_ID_POINTER": "/issue/fields/customfield_10042",
}
SHOWN = ("location", "retry-after", "content-type", "x-correlation-id")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str
    status: int
    answer_headers: tuple[tuple[str, str], ...] = ()
    answer: str = ""

    def text(self):
        lines = [f"{self.method} {self.url}", *_lines(self.headers), "", *self.body.splitlines()]
        lines += [""] if self.body else []
        lines += [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        return "\n".join([*lines, *_lines(self.answer_headers), "", self.answer, ""])


def _lines(headers):
    return [f"{name}: {value}" for name, value in headers]


def read(path):
    """Return state of the request before the first exchange, its id, and the exchanges."""
    first, *blocks = re.split(r"^(?=GET |POST )", path.read_text(), flags=re.MULTILINE)
    state = re.search(r"^# state: (\S+)", first, re.MULTILINE)[1]
    request_id = re.search(r"^# request: (\S+)", first, re.MULTILINE)[1]
    return first, state, request_id, [_exchange(block) for block in blocks]


def _exchange(block):
    asked, _, answered = block.partition("HTTP/1.1 ")
    head, _, body = asked.partition("\n\n")
    first, *names = head.splitlines()
    method, _, url = first.partition(" ")
    status, *rest = answered.split("\n")
    told, _, answer = "\n".join(rest).partition("\n\n")
    return Exchange(
        method, url, _headers(names), body.strip(), int(status[:3]), _headers(told.splitlines()), answer.strip()
    )  # fmt: skip


def _headers(lines):
    return tuple(
        (name, value) for name, _, value in (line.partition(": ") for line in lines) if value
    )


def play(app, path):
    """Send every request of a file to the running app; return the exchanges as they went now.

    A call of the recorded `Location` is sent to the address that the app gives now, and repeated
    while the answer is 202 and the recorded one is not.
    """
    _, state, request_id, recorded = read(path)
    app.put({"id": request_id, "state": state, "deliverySeconds": 0.7})
    played, links = [], {}
    for one in recorded:
        url = links.get(one.url, one.url.replace(HOST, app.url))
        for _ in range(50):
            answer = _send(app, one, url)
            if answer.status == one.status or answer.status != 202:
                break
            time.sleep(0.1)
        links[location(one)] = location(answer)
        played.append(answer)
    return recorded, played


def location(one):
    """The `Location` of an answer, or nothing."""
    return dict(one.answer_headers).get("location", "")


def _send(app, one, url):
    body = one.body.encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        name: value.replace("<key>", app.function_key).replace("<signature>", signature)
        for name, value in one.headers
    }
    path = url.removeprefix(app.url)
    reply = app.call(one.method, path, key="", body=body or None, **headers)
    shown = tuple((name, reply.headers[name]) for name in SHOWN if name in reply.headers)
    text = json.dumps(reply.body, indent=2, ensure_ascii=False)
    return replace(one, status=reply.status, answer_headers=shown, answer=text)


def record(app, path):
    """Write the answers of a run into the file, with the placeholders for host and key."""
    first, *_ = read(path)
    recorded, played = play(app, path)
    text, links = first, {}
    for was, now in zip(recorded, played, strict=True):
        kept = replace(now, url=links.get(was.url, was.url))
        links[location(was)] = location(now).replace(app.url, HOST)
        text += kept.text().replace(app.url, HOST).replace(app.function_key, "<key>") + "\n"
    path.write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    from tests.support.local_app import App

    with App(settings=SETTINGS, graph_options=("--requests", "0")) as local:
        for file in sorted(EXAMPLES.glob("*/*.http")):
            record(local, file)
            print(file.name, file.parent.name)
