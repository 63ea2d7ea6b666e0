"""Generated calls of the running app, right and wrong, from the connector's own definition.

For: that what the definition says is true on the way through host and worker. Parsers meet stranger
bytes in tests/fuzz. The same calls every time, FUZZ_EXAMPLES for each operation and kind (60 unless
set). More of them:

    FUZZ_EXAMPLES=5000 make test
"""

from __future__ import annotations

import json
import os
import re

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode

from tests.support.definition import DEFINITION, OPERATIONS, check
from tests.support.local_app import Reply

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
# What the generating libraries warn of is not ours.
pytestmark = [pytest.mark.timeout(60 + EXAMPLES), pytest.mark.filterwarnings("default")]
# Without `security` no key is changed: who may call is not asked here.
SCHEMA = schemathesis.openapi.from_dict(DEFINITION | {"security": []})
WITH_PARAMETERS = [route for route, one in OPERATIONS.items() if one.get("parameters")]
LITERAL = re.compile("[0-9]+|true|false", re.IGNORECASE)
repeatable = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", WITH_PARAMETERS, ids=lambda one: OPERATIONS[one]["operationId"])
def test_every_answer_is_a_defined_one_and_what_is_forbidden_does_not_reach_graph(app, route, mode):
    """And none is a 500. Where no route fits, or a NUL is in the path, the host itself answers."""
    method, path = route

    @repeatable
    @hypothesis.given(SCHEMA[path][method].as_strategy(generation_mode=mode))
    def call(case):
        # On the way, the text of a number or a flag is right where a number or a flag is.
        query = map(str, (case.query or {}).values())
        hypothesis.assume(mode is GenerationMode.POSITIVE or not any(map(LITERAL.fullmatch, query)))
        headers = {"x-functions-key": app.function_key}
        answer = case.call(base_url=f"{app.url}/api", headers=headers)
        names = {name.lower(): value[0] for name, value in answer.headers.items()}
        reply = Reply(answer.status_code, names, json.loads(answer.content or b"null"))
        if reply.body is None:
            assert reply.status in {400, 404}
        else:
            check(reply, method, path)
        assert reply.status < 500, reply.body
        if graph_calls := app.control("GET", "log")["log"]:
            app.control("DELETE", "log")
        if mode is GenerationMode.NEGATIVE or reply.status in {400, 401}:
            assert reply.status in {400, 401, 404}
            assert not graph_calls

    call()
