"""Stands in for az: answers what a file of state says, and writes down every call.

For: tests of scripts/ and of what documents show. Not for: checking a command's arguments; the real
az does that in `make check-docs`.

AZ_STATE names a JSON file: {"answers": {path in Graph: JSON}, "calls": [arguments]}. A POST to a
collection adds to it, a DELETE takes away, all else answers what is there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import jmespath


def rest(options, answers):
    """What Graph would answer, by the state."""
    path = options["--url"].partition("/v1.0/")[2]
    parent, _, name = path.rpartition("/")
    there = answers.setdefault(path, {"value": []})
    match options["--method"]:
        case "POST":
            made = {"id": f"made-{len(there['value'])}"} | json.loads(options["--body"])
            there["value"].append(made)
            return made | there.get("made", {})
        case "DELETE":
            kept = [one for one in answers[parent]["value"] if one["id"] != name]
            answers[parent]["value"] = kept
        case "GET":
            return there
    return None


def main(arguments):
    """Answer one call."""
    path = Path(os.environ["AZ_STATE"])
    state = json.loads(path.read_text()) if path.exists() else {}
    state.setdefault("calls", []).append(arguments)
    first = next((n for n, one in enumerate(arguments) if one.startswith("-")), len(arguments))
    command = " ".join(arguments[:first])
    options = dict(zip(arguments[first::2], arguments[first + 1 :: 2], strict=False))
    answer = state.get("says", {}).get(command)
    if command == "rest" and "answers" in state:
        answer = rest(options, state["answers"])
    path.write_text(json.dumps(state))
    if answer is not None and "--query" in options and not isinstance(answer, str):
        answer = jmespath.search(options["--query"], answer)
    for one in answer if isinstance(answer, list) else [answer]:
        if one is not None:
            print(one if isinstance(one, str) else json.dumps(one))
    return 1 if command in state.get("fails", []) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
