"""What strangers cost: refusals under a flood, good calls during it, and verifying a signature.

Not for: calls that are let in one after the other (__main__.py).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import multiprocessing
import statistics
import time
import uuid
from typing import Any

from benchmarks.tenant import NO_TIMER
from emulator.run import Local
from reprocess_http import signatures

SECRET = "a secret of at least twenty-four bytes"
FLOODERS = 4
SECONDS = 5.0


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "Content-Type": "application/json"}


def flood(port: int, key: str, ends: float, results: Any) -> None:
    """Send unsigned webhooks until the time is over; put how many were answered, and how."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"requestId": str(uuid.uuid4())}).encode()
    statuses: dict[int, int] = {}
    while time.time() < ends:
        connection.request("POST", "/api/webhook", body, {"x-functions-key": key})
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
    results.put(statuses)


def webhooks(local: Local, ids: list[str]) -> list[float]:
    """Milliseconds of one signed webhook after the other; every answer must be 202."""
    connection = http.client.HTTPConnection("127.0.0.1", local.port)
    times = []
    for one in ids:
        body = json.dumps({"requestId": one}).encode()
        started = time.perf_counter()
        headers = signed(body) | {"x-functions-key": local.function_key}
        connection.request("POST", "/api/webhook", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        times.append((time.perf_counter() - started) * 1000)
        assert answer.status == 202, text
    return times


def failing(local: Local, count: int) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    local.control("PATCH", "settings", {"deliverySeconds": 3600})
    local.control("POST", "requests", {"requests": [{"id": one} for one in ids]})
    return ids


def percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49]:.2f} / {cuts[98]:.2f}"


def under_a_flood(local: Local) -> dict[str, Any]:
    quiet = webhooks(local, failing(local, 500))
    results: Any = multiprocessing.Queue()
    ends = time.time() + SECONDS
    flooders = [
        multiprocessing.Process(target=flood, args=(local.port, local.function_key, ends, results))
        for _ in range(FLOODERS)
    ]
    for flooder in flooders:
        flooder.start()
    during: list[float] = []
    ids = iter(failing(local, 5000))
    while time.time() < ends - 0.5:
        during += webhooks(local, [next(ids)])
    answered: dict[int, int] = {}
    for _ in flooders:
        for status, count in results.get().items():
            answered[status] = answered.get(status, 0) + count
    assert set(answered) == {401}, answered
    return {
        "webhook p50 / p99 ms": percentiles(quiet),
        "unsigned flood: refusals per second": round(answered[401] / SECONDS),
        "  a good webhook during it p50 / p99 ms": percentiles(during),
    }


def verifying(rounds: int = 200) -> dict[str, Any]:
    body = b"x" * (256 * 1024)
    headers = signed(body)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        signatures.verify(headers, body, [SECRET], time.time())
        times.append((time.perf_counter() - started) * 1000)
    return {"verifying 256 KiB, median ms": round(statistics.median(times), 3)}


def measure() -> dict[str, Any]:
    settings = {"WEBHOOK_SECRETS": SECRET, **NO_TIMER}
    with Local(settings=settings, graph_options=("--requests", "0")) as local:
        return under_a_flood(local) | verifying()
