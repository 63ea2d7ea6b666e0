"""The connector's definition, for the tests that compare it with something.

Not for: tests of the definition itself (test_connector.py).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema

FOLDER = Path(__file__).parent.parent / "connector"
DEFINITION = json.loads((FOLDER / "apiDefinition.swagger.json").read_text())
OPERATIONS = {
    (method.upper(), path): operation
    for path, item in DEFINITION["paths"].items()
    for method, operation in item.items()
}


def check(reply, method, path):
    """Assert that the definition foresees a reply: status, headers, every member of the body."""
    told = OPERATIONS[method, path]["responses"][str(reply.status)]
    assert set() == {name.lower() for name in told["headers"]} - set(reply.headers)
    schema = copy.deepcopy(told["schema"])
    definitions = copy.deepcopy(DEFINITION["definitions"])
    for definition in definitions.values():
        definition["additionalProperties"] = False  # no member that the definition does not have
    jsonschema.validate(
        reply.body,
        schema | {"definitions": definitions},
        format_checker=jsonschema.FormatChecker(),
    )
    problem = schema["$ref"].endswith("/Problem")
    expected = "application/problem+json" if problem else "application/json"
    assert expected == reply.headers["content-type"].partition(";")[0]
    return reply.body.get("outcome") or reply.body.get("type", "").rpartition(":")[2]
