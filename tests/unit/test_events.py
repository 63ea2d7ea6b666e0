"""events.py: one line for each process that begins to work, whatever its first invocation is."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
from types import SimpleNamespace

import pytest

import events
import reprocess_http
import reprocess_timer
import settings as app_settings
from tests.support.http_calls import request
from version import VERSION

FUNCTIONS = {
    one._function.get_function_name(): one._function.get_user_function()
    for blueprint in (reprocess_http.blueprint, reprocess_timer.blueprint)
    for one in blueprint._function_builders
}
del FUNCTIONS["health"]  # `async`: a line of it may belong to no invocation


def misconfigured():
    raise app_settings.SettingsError(["GRAPH_CLOUD is wrong"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_first_invocation_of_a_process_logs_that_the_app_has_started(name, monkeypatch, caplog):
    """Its first line, with the version, and only once; also where the app is misconfigured."""
    monkeypatch.setattr(events, "_invocations", itertools.count())
    monkeypatch.setattr(app_settings, "current", misconfigured)
    caplog.set_level(logging.INFO, "redeliver")
    given = SimpleNamespace(past_due=False) if name == "sweep" else request()
    for _ in range(2):
        try:
            answer = FUNCTIONS[name](given, SimpleNamespace(invocation_id="run-1"))
            if inspect.iscoroutine(answer):
                asyncio.run(answer)
        except reprocess_timer.SweepFailed:
            pass

    lines = [json.loads(one.message) for one in caplog.records if one.name == "redeliver"]
    assert {"event": "app started", "version": VERSION} == lines[0]
    assert 1 == sum(one["event"] == "app started" for one in lines)
