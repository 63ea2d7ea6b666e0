"""The connector's definition is valid and has what the app's code has.

Not for: the running app's answers (e2e/test_connector.py).
"""

from __future__ import annotations

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, validate

from reprocess_http.responses import PROBLEMS
from tests.support.definition import DEFINITION, FOLDER, LEFT_OUT, OPERATIONS, routes

PROPERTIES = json.loads((FOLDER / "apiProperties.json").read_text())["properties"]
# Problems that only routes give which the connector leaves out.
WEBHOOK_ONLY = {"body-too-large", "no-request-id", "unsupported-media-type"}


# ---- the definition by itself --------------------------------------------------------------------


def test_it_is_valid_openapi_2():
    """Power Platform takes nothing newer. The validator also sees that operation ids differ."""
    validate(DEFINITION, cls=OpenAPIV2SpecValidator)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda o: o["operationId"])
def test_an_operation_has_what_a_flow_author_sees(operation):
    """PascalCase id, a summary in sentence case, a description, and labels on every parameter."""
    assert re.fullmatch(r"([A-Z][a-z]+)+", operation["operationId"])
    assert re.fullmatch(r"[A-Z][a-z ]+", operation["summary"])
    assert operation["description"].endswith(".")
    assert operation["x-ms-visibility"] in {"important", "advanced", "internal"}
    for parameter in operation["parameters"]:
        assert_labelled(parameter)
        if parameter["in"] == "path":
            assert (True, "single") == (parameter["required"], parameter["x-ms-url-encoding"])
    for answer in operation["responses"].values():
        for header in answer["headers"].values():
            assert header["description"].endswith(".")
            assert header["x-ms-summary"]


def assert_labelled(part):
    assert part["description"].endswith(".")
    assert part["x-ms-summary"]
    assert part["x-ms-visibility"] in {"important", "advanced", "internal"}
    # A hidden parameter that is required needs a default, or no call can be made.
    if part.get("required") is True and part["x-ms-visibility"] == "internal":
        assert "default" in part


def properties(schema):
    """Every property in a schema, at any depth."""
    for part in schema.get("properties", {}).values():
        yield part
        yield from properties(part)
    if "items" in schema:
        yield from properties(schema["items"])


@pytest.mark.parametrize("name", DEFINITION["definitions"])
def test_every_property_is_labelled(name):
    """What has no label shows as a raw name in a flow."""
    found = list(properties(DEFINITION["definitions"][name]))

    assert found
    for part in found:
        assert_labelled(part)


def test_the_connection_asks_for_the_key_that_the_definition_sends():
    """One secret text, sent as x-functions-key."""
    (scheme,) = DEFINITION["securityDefinitions"].values()

    assert {"type": "apiKey", "in": "header", "name": "x-functions-key"} == scheme
    assert {"api_key": "securestring"} == {
        name: parameter["type"] for name, parameter in PROPERTIES["connectionParameters"].items()
    }


# ---- the definition and the app's code -----------------------------------------------------------


def test_routes_and_methods_are_the_apps():
    """All of the app's, but for those left out with a reason."""
    app_has = set(routes())

    assert "/api" == DEFINITION["basePath"]
    assert app_has - set(LEFT_OUT) == set(OPERATIONS)


def test_a_key_is_asked_for_where_the_host_asks_for_one():
    """An operation without security is a route that is open at the host, and no other."""
    keyed = {
        route: operation.get("security", DEFINITION["security"]) != []
        for route, operation in OPERATIONS.items()
    }

    assert {route: routes()[route] == "function" for route in keyed} == keyed


def test_problems_are_the_codes():
    """Every problem that the code has, but for those of routes left out, and every error status."""
    named = {name: one.status for name, one in PROBLEMS.items() if name not in WEBHOOK_ONLY}
    told = {status for one in OPERATIONS.values() for status in one["responses"]}

    types = DEFINITION["definitions"]["Problem"]["properties"]["type"]["enum"]
    assert sorted(f"urn:redeliver:problem:{name}" for name in named) == sorted(types)
    assert set(map(str, named.values())) == told - {"200", "202"}
