"""An emulated Graph for tests: one for all of them, made fresh for each, by a clock of its own.

Not for: the whole app (local_app.py).
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
import uuid
from datetime import UTC, datetime

import requests
from aiohttp import web

from emulator.control import Control
from emulator.graph import create_app
from emulator.identity import Identity
from emulator.switches import READ_ROLE, WRITE_ROLE, Rules
from emulator.tenant import Tenant

READ, WRITE = READ_ROLE, WRITE_ROLE
START = datetime(2026, 8, 20, 12, tzinfo=UTC)
PACKAGES = [str(uuid.UUID(int=n)) for n in (100, 101, 102)]
CATALOGS = [str(uuid.UUID(int=n)) for n in (200, 201)]
IDS = [str(uuid.UUID(int=n)) for n in range(10)]
UNKNOWN = str(uuid.UUID(int=999))
USER_ASSIGNED = str(uuid.UUID(int=77))
ROOT = "/identityGovernance/entitlementManagement/assignmentRequests"
PATH, BETA = f"/v1.0{ROOT}", f"/beta{ROOT}"
LEGACY = "/beta/identityGovernance/entitlementManagement/accessPackageAssignmentRequests"
SECRET = "identity-secret"
FAILED = (
    {
        "state": "deliveryFailed",
        "createdDateTime": "2026-08-20T10:00:00.1Z",
        "completedDateTime": "2026-08-20T11:00:00.25Z",
        "accessPackageId": PACKAGES[0],
        "catalogId": CATALOGS[0],
    },
    {
        "state": "partiallyDelivered",
        "requestType": "adminUpdate",
        "createdDateTime": "2026-08-20T09:00:00Z",
        "accessPackageId": PACKAGES[1],
        "catalogId": CATALOGS[1],
    },
    {
        "state": "pendingApproval",
        "createdDateTime": "2026-08-20T08:00:00Z",
        "accessPackageId": PACKAGES[0],
    },
)


class Emulated:
    """An emulator in a thread of its own, with a clock that only the test moves."""

    def __init__(self):
        self.now = START
        self.tenant = Tenant(lambda: self.now, Rules(delivery_seconds=10, stale_seconds=0))
        self.control = Control(self.tenant)
        self.identity = Identity(SECRET, frozenset([USER_ASSIGNED]))
        self.session = requests.Session()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.url = self.run(self.start())
        atexit.register(self.stop)

    def run(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(10)

    async def start(self):
        app = create_app(self.control, self.identity)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def stop(self):
        self.session.close()
        self.run(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def reset(self):
        """Three requests, IDS[0] to IDS[2], no fault, and every switch where it was."""
        self.now = START
        self.tenant.advance(-self.tenant.offset.total_seconds())
        self.control.clear_requests()
        self.control.reset_settings()
        self.control.clear_faults()
        self.control.clear_log()
        self.headers = {"Authorization": f"Bearer {self.token()}"}
        self.put(*FAILED)

    def turn(self, **switches):
        self.control.patch_settings(switches)

    def fault(self, on, kind, **more):
        self.control.add_fault({"on": on, "kind": kind, **more})

    def put(self, *fields, first=0):
        """Put requests with these fields as IDS[first] and so on."""
        self.control.put_requests([{"id": IDS[n], **one} for n, one in enumerate(fields, first)])

    def state(self, n=0):
        """What a request is in truth."""
        return self.tenant.get(IDS[n]).state_at(self.tenant.now())

    def token(self, roles=(WRITE,), audience="https://graph.microsoft.com", seconds=3600):
        return self.identity.issue(audience, roles, seconds, self.now)[0]

    def be(self, *roles, catalogs=()):
        """Call with a token of these roles from now on."""
        self.headers = {"Authorization": f"Bearer {self.token(roles)}"}
        self.turn(catalogs=list(catalogs))

    def call(self, method, path, query=None, **more):
        headers = {**self.headers, **more.pop("headers", {})}
        return self.session.request(
            method,
            self.url + path,
            params=query,
            headers=headers,
            timeout=more.pop("timeout", 5),
            allow_redirects=False,
            **more,
        )

    def get(self, path, query=None, **more):
        return self.call("GET", path, query, **more)

    def read(self, n=0, query=None, path=PATH):
        return self.get(f"{path}/{IDS[n]}", query)

    def reprocess(self, n=0, path=PATH, **more):
        return self.call("POST", f"{path}/{IDS[n]}/reprocess", **more)

    def batch(self, *items, path="/v1.0/$batch", **more):
        return self.call("POST", path, json={"requests": list(items)}, **more)

    def list(self, **options):
        """List with these options, each without its dollar sign."""
        return self.get(PATH, {f"${name}": value for name, value in options.items()})

    def identity_answer(self, header=SECRET, **query):
        """What the identity's endpoint answers."""
        params = {"api-version": "2019-08-01", "resource": "https://graph.microsoft.com", **query}
        headers = {} if header is None else {"X-IDENTITY-HEADER": header}
        return self.session.get(f"{self.url}/msi/token", params=params, headers=headers, timeout=5)


@functools.cache
def _shared():
    return Emulated()


def fresh():
    """Return the emulator that all tests share, as it was at first."""
    emulated = _shared()
    emulated.reset()
    return emulated


def error(answer):
    """Status, code and message, after the whole envelope was checked."""
    body = answer.json()
    sent = answer.request.headers.get("client-request-id")
    assert body == {
        "error": {
            "code": body["error"]["code"],
            "message": body["error"]["message"],
            "innerError": {
                "date": "2026-08-20T12:00:00",
                "request-id": answer.headers["request-id"],
                "client-request-id": sent or answer.headers["request-id"],
            },
        }
    }
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, body["error"]["code"], body["error"]["message"]


def ids(answer):
    """Which of the known requests a list holds."""
    assert answer.status_code == 200, answer.text
    return [IDS.index(one["id"].lower()) for one in answer.json()["value"]]


def get_item(item_id, n=0):
    return {"id": item_id, "method": "GET", "url": f"{ROOT}/{IDS[n]}"}


def post_item(item_id, n=0, **more):
    return {
        "id": item_id,
        "method": "POST",
        "url": f"{ROOT}/{IDS[n]}/reprocess",
        "body": {},
        "headers": {"Content-Type": "application/json"},
        **more,
    }


def by_id(answer):
    """The items of a batch's answer by their ids."""
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["responses"]
    return {one["id"]: one for one in answer.json()["responses"]}


def statuses(answer):
    return {one: item["status"] for one, item in by_id(answer).items()}
