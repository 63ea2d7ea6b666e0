"""The connector's definition, for the tests that compare it with something.

Not for: tests of the definition itself (test_connector.py).
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

import jsonschema

import function_app

FOLDER = Path(__file__).parents[2] / "connector"
DEFINITION = json.loads((FOLDER / "apiDefinition.swagger.json").read_text())
OPERATIONS = {
    (method.upper(), path): operation
    for path, item in DEFINITION["paths"].items()
    for method, operation in item.items()
}
# Routes of the app that the connector leaves out, and why.
LEFT_OUT = {
    ("POST", "/webhook"): "takes a ticketing system's own signed payload; a flow knows the id",
    ("GET", "/report"): "is a page for people; a flow has the list itself",
}


@functools.cache  # an app gives its functions once
def routes():
    """Every HTTP route of the app, with its level, as azure-functions indexes it."""
    found = {}
    for function in function_app.app.get_functions():
        trigger = function.get_trigger().get_dict_repr()
        if trigger["type"] == "httpTrigger":
            for method in trigger["methods"]:
                found[str(method.value), "/" + trigger["route"]] = trigger["authLevel"].value
    return found


def check(reply, method, path):
    """Assert that the definition foresees a reply: status, headers, every member of the body."""
    told = OPERATIONS[method, path]["responses"][str(reply.status)]
    assert set() == {name.lower() for name in told["headers"]} - set(reply.headers)
    schema = copy.deepcopy(told["schema"])
    definitions = copy.deepcopy(DEFINITION["definitions"])
    for definition in definitions.values():
        definition["additionalProperties"] = False  # no member that the definition does not have
        allow_null(definition)
    jsonschema.validate(
        reply.body,
        schema | {"definitions": definitions},
        format_checker=jsonschema.FormatChecker(),
    )
    problem = schema["$ref"].endswith("/Problem")
    expected = "application/problem+json" if problem else "application/json"
    assert expected == reply.headers["content-type"].partition(";")[0]
    return reply.body.get("outcome") or reply.body.get("type", "").rpartition(":")[2]


def allow_null(definition):
    """OpenAPI 2 has no null of its own; `x-nullable` says where there is one."""
    for part in definition.get("properties", {}).values():
        if part.get("x-nullable"):
            part["type"] = [part["type"], "null"]
