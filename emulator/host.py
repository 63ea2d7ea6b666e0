"""A local Azure Functions host around Microsoft's own Python worker library.

Not for: proving what only Azure can (its key store, timer lease, scaling, Easy Auth), or how a call
is read (inputs.py).

    python -m emulator.host --app DIR --port 7071

The worker library loads the app, converts bindings and runs functions; what the real host does
around it is done here: routes, keys, methods, header names, `%SETTING%`, timers, logs.
As on Azure, a body without Content-Length reaches nobody, and log lines outside of an invocation
are lost (lost_lines.py).
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import logging
import os
import re
import secrets
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from croniter import croniter

from emulator import inputs, lost_lines, protos, serve

log = logging.getLogger("host")
LARGEST_BODY = 100 * 1024 * 1024


class AppNotLoaded(Exception):
    """The worker could not load the app; the text has the worker's own words."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app, as the worker describes it."""

    name: str
    id: str
    trigger: dict[str, Any]

    @property
    def is_http(self) -> bool:
        return bool(self.trigger["type"].lower() == "httptrigger")


@dataclass
class Host:
    """The app, loaded, and what is needed to call its functions."""

    app_dir: Path
    function_key: str
    master_key: str
    handle: Any = None
    functions: dict[str, Function] = field(default_factory=dict)
    routes: list[tuple[re.Pattern[str], Function]] = field(default_factory=list)
    by_hand: set[asyncio.Future[str]] = field(default_factory=set)
    running: set[str] = field(default_factory=set)

    async def load(self) -> None:
        """Have the worker load the app. Raises AppNotLoaded."""
        os.chdir(self.app_dir)
        sys.path.insert(0, str(self.app_dir))
        from azure_functions_runtime import handle_event
        from azure_functions_runtime.utils.threadpool import start_threadpool_executor

        start_threadpool_executor()
        self.handle = handle_event
        init = protos.message(
            worker_init_request=protos.message(
                capabilities={}, function_app_directory=str(self.app_dir)
            )
        )
        answer = await handle_event.worker_init_request(protos.envelope(init))
        if answer.result.status != protos.StatusResult.Success:
            raise AppNotLoaded(answer.result.exception.message)
        metadata = await handle_event.functions_metadata_request(protos.envelope(None))
        for item in metadata.function_metadata_results or ():
            self._add(item)

    def _add(self, item: Any) -> None:
        bindings = [json.loads(raw) for raw in item.raw_bindings]
        trigger = next(b for b in bindings if b["type"].lower().endswith("trigger"))
        function = Function(item.name, item.function_id, trigger)
        self.functions[item.name] = function
        if function.is_http:
            self.routes.append((inputs.route_pattern(f"api/{trigger['route']}"), function))
            self.routes.sort(key=lambda one: one[1].name.lower())  # as the real host tries them

    async def invoke(self, function: Function, data: Any) -> tuple[Any, str]:
        """Run a function; return its value, and what went wrong, if anything did."""
        invocation_id = str(uuid.uuid4())
        self.running.add(invocation_id)
        started = time.monotonic()
        log.info("Executing 'Functions.%s' (Id=%s)", function.name, invocation_id)
        call = protos.message(
            invocation_id=invocation_id,
            function_id=function.id,
            input_data=[protos.ParameterBinding(name=function.trigger["name"], data=data)],
            trace_context=protos.message(trace_parent="", trace_state="", attributes={}),
            retry_context=protos.message(retry_count=0, max_retry_count=0, exception=None),
        )
        run = self.handle.invocation_request(
            protos.envelope(protos.message(invocation_request=call))
        )
        answer = await asyncio.shield(asyncio.ensure_future(run))  # goes on without its caller
        failed = answer.result.status != protos.StatusResult.Success
        problem = str(answer.result.exception.message) if failed else ""
        self.running.discard(invocation_id)
        level, outcome = (logging.ERROR, "Failed") if problem else (logging.INFO, "Succeeded")
        took = f"Id={invocation_id}, Duration={(time.monotonic() - started) * 1000:.0f}ms"
        log.log(level, "Executed 'Functions.%s' (%s, %s) %s", function.name, outcome, took, problem)
        return (None if problem else answer.return_value), problem

    def may(self, given: str | None, level: str) -> bool:
        """Whether this key opens a function of this level; the master key always does."""
        if level.lower() == "anonymous":
            return True
        keys = [self.master_key] + ([self.function_key] if level.lower() == "function" else [])
        given = given or ""
        return any(hmac.compare_digest(given.encode(), key.encode()) for key in keys)

    async def http(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP call: find the function, check the key, run it."""
        told = "Content-Length" in request.headers or "Transfer-Encoding" in request.headers
        if request.method == "POST" and not told:
            return web.Response(status=411)  # Azure's front end, which the host is behind
        raw, query = inputs.split_target(request.raw_path)
        try:
            path = inputs.routed_path(raw)
        except inputs.BadPath:
            return web.Response(status=400)
        for pattern, function in self.routes:
            match = pattern.fullmatch(path)
            methods = [m.upper() for m in function.trigger.get("methods") or ("GET", "POST")]
            if match and request.method in methods:
                if not self.may(_key(request), str(function.trigger.get("authLevel", "function"))):
                    return web.Response(status=401)
                return await self._call_http(request, function, match.groupdict(), path, query)
        return web.Response(status=404)

    async def _call_http(
        self,
        request: web.Request,
        function: Function,
        params: dict[str, str],
        path: str,
        query: str,
    ) -> web.StreamResponse:
        headers = inputs.headers_of(request.headers.items())
        length = int(headers.get("content-length") or 0)  # a body in chunks reaches no function
        if length > LARGEST_BODY:
            return web.Response(status=500)  # azure-functions-host #10519
        http = protos.message(
            method=request.method,
            url=inputs.url_of(request.scheme, request.host, path, query),
            headers=headers,
            params=params,
            query=inputs.query_of(inputs.parameters(query)),
            body=protos.TypedData(bytes=await request.read() if length else b""),
        )
        value, problem = await self.invoke(function, protos.TypedData(http=http))
        if problem or value is None:
            return web.Response(status=500)
        answer = value.http
        return web.Response(
            status=int(answer.status_code), headers=answer.headers, body=answer.body.bytes or b""
        )

    async def run_timer(self, function: Function, past_due: bool = False) -> str:
        """Run a timer function once; return what went wrong, or nothing."""
        info = json.dumps({"IsPastDue": past_due})
        _, problem = await self.invoke(function, protos.TypedData(json=info))
        return problem

    async def keep_time(self, function: Function) -> None:
        """Run a timer function by its schedule (NCRONTAB, UTC): one run at a time.

        A run that lasts past the next time of the schedule is followed by another one at once.
        """
        schedule = str(function.trigger["schedule"])
        schedule = re.sub(r"^%(\w+)%$", lambda m: os.environ.get(m[1], m[0]), schedule)
        last = datetime.now(UTC)
        while True:
            following = croniter(schedule, last, second_at_beginning=True, day_or=False)
            due = following.get_next(datetime)
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            last = max(due, datetime.now(UTC))
            await self.run_timer(function)

    async def admin_run(self, request: web.Request) -> web.StreamResponse:
        """`POST /admin/functions/{name}`: run a timer function by hand, as on Azure.

        Such a run waits for no other one.
        This host's own are `?wait=true`, to answer when the run has ended, and `?pastDue=true`, as
        after a missed run.
        """
        if not self.may(_key(request), "admin"):
            return web.Response(status=401)
        function = self.functions.get(request.match_info["name"])
        if function is None or function.is_http:
            return web.Response(status=404)
        past_due = request.query.get("pastDue") == "true"
        run = asyncio.ensure_future(self.run_timer(function, past_due))
        if request.query.get("wait") != "true":
            self.by_hand.add(run)  # kept from being collected while it runs
            run.add_done_callback(self.by_hand.discard)
            return web.Response(status=202)
        problem = await run
        return web.json_response(
            {"ok": not problem, "error": problem or None}, status=500 if problem else 200
        )


def _key(request: web.Request) -> str | None:
    _, query = inputs.split_target(request.raw_path)
    return inputs.key_of(request.headers.items(), inputs.parameters(query))


@web.middleware
async def _without_words(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer as the real host what is no path at all: 404, without a body."""
    try:
        return await handler(request)  # type: ignore[no-any-return]
    except web.HTTPNotFound:
        return web.Response(status=404)


def application(host: Host) -> web.Application:
    """Return the web application that serves a loaded host."""
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_without_words])

    async def state(request: web.Request) -> web.StreamResponse:
        if not host.may(_key(request), "admin"):
            return web.Response(status=401)
        return web.json_response({"state": "Running"})

    async def timers(_: web.Application) -> Any:
        tasks = [
            asyncio.ensure_future(host.keep_time(f))
            for f in host.functions.values()
            if not f.is_http
        ]
        yield
        for task in tasks:
            task.cancel()

    app.router.add_get("/admin/host/status", state)
    app.router.add_post("/admin/functions/{name}", host.admin_run)
    app.router.add_route("*", "/{path:(?s:.*)}", host.http)
    app.cleanup_ctx.append(timers)
    return app


def main() -> int:
    """Serve one app until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m emulator.host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path.cwd())
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--exit-with-parent", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    host = Host(
        options.app.resolve(),
        os.environ.get("FUNCTION_KEY") or secrets.token_hex(16),
        os.environ.get("MASTER_KEY") or secrets.token_hex(16),
    )
    _log_to_stdout(host)
    if options.exit_with_parent:
        serve.exit_with_parent()
    return asyncio.run(_serve(host, options))


def _log_to_stdout(host: Host) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(lost_lines.FORMAT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(lost_lines.Mark(host.running))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.Formatter.converter = time.gmtime
    logging.getLogger("azure.functions").setLevel(logging.WARNING)


async def _serve(host: Host, options: argparse.Namespace) -> int:
    try:
        await host.load()
        await serve.until_stopped(application(host), options.port)
    except (AppNotLoaded, OSError) as error:
        print(f"the app could not be started: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a function still running in the worker's threads does not hold up the end
