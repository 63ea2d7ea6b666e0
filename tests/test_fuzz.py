"""The fuzzing targets themselves: each runs, reaches its parser, and fails when that is broken.

Not for: fuzzing, which `make fuzz` does; here each target sees its seeds and a few inputs more.
"""

from __future__ import annotations

import email.utils
import functools
import json
import random
import re
import sys
from datetime import timedelta, timezone
from types import SimpleNamespace

import pytest

from tests import package
from tests.fuzz import __main__ as command
from tests.fuzz.targets import TARGETS, derived, unthreaded
from tests.lines import PROJECT

command.targets()
INPUTS = 200  # derived from the seeds of each target, always the same
ANY = re.compile(".*", re.DOTALL)
# What is deployed and reads nothing that comes from outside, or only what a parser has read.
NO_PARSER = {
    "deadline.py": "clocks",
    "function_app.py": "registers",
    "reprocess_http/lately.py": "ids that were checked",
    "reprocess_http/page.py": "files of our own",
    "reprocess_timer/acting.py": "outcomes of graph/calls.py",
    "reprocess_timer/batches.py": "outcomes of graph/calls.py",
    "reprocess_timer/listing.py": "outcomes of graph/calls.py",
    "reprocess_timer/means.py": "holds what steps share",
    "reprocess_timer/pace.py": "outcomes of graph/calls.py",
    "reprocess_timer/read_back.py": "outcomes of graph/calls.py",
    "reprocess_timer/reading.py": "outcomes of graph/calls.py",
    "reprocess_timer/report.py": "counts",
    "reprocess_timer/sweep.py": "the steps in order",
    "graph/errors.py": "words of our own",
}
# For each target one way to break its parser, as a careless change might.
BROKEN = {
    "json_body": ("reprocess_http.strict_json._unambiguous", dict),
    "webhook_id": ("reprocess_http.webhook.is_guid", lambda _: True),
    "signature": ("hmac.compare_digest", lambda *_: True),
    "link": ("hmac.compare_digest", lambda *_: True),
    "principal_header": ("reprocess_http.door.ROLES", {"name"}),
    "site_and_run": ("reprocess_http.door.OTHER_SITES", {"cross-site"}),
    "own_address": ("reprocess_http.origin._HOST", ANY),
    "accept_header": ("reprocess_http.accept._WEIGHT", ANY),
    "parameters": ("reprocess_http.parameters.KEY_PARAMETERS", {"dry_run"}),
    "list_query": ("reprocess_http.failures_query.bisect_right", lambda *_, **__: 0),
    "waits_and_dates": ("graph.answer.http_date", email.utils.parsedate_to_datetime),
    "times": ("graph.request.UTC", timezone(timedelta(hours=1))),
    "token_claims": ("graph.identity.is_guid", lambda _: True),
    "request_body": ("graph.request._text", lambda given, name: given.get(name)),
    "one_answer": (
        "graph.http.told_wait",
        lambda answer, _: float(answer.headers.get("retry-after", "1")),
    ),
    "batch_answer": ("graph.batch.lower", dict),
    "next_links": (
        "graph.http.Http._checked",
        lambda self, url: url if "://" in url else self.version_root + url,
    ),
    "whole_call": ("reprocess_http.one_request.ENDED", {}),
    "one_setting": ("setting_kinds.SHOWN", 10_000),
    "all_settings": ("setting_kinds.SecretUrl.secret", False),
    "connection_string": ("setting_kinds.ConnectionString.secret", False),
    "table_answer": ("table.moment", lambda value: value),
    "sweep_row": ("attempts.json", SimpleNamespace(loads=json.loads, dumps=lambda *_, **__: "")),
    "csv_cells": ("reprocess_http.sheet._FORMULA", {"="}),
    "notice": ("reprocess_timer.cards._request", lambda *_: {"type": "TextBlock", "inlines": []}),
    "log_line": (
        "events.json",
        SimpleNamespace(dumps=functools.partial(json.dumps, ensure_ascii=False)),
    ),
}

each = pytest.mark.parametrize("one", TARGETS.values(), ids=TARGETS)


def run(one):
    """Run a target over its seeds, and over inputs derived from them."""
    with unthreaded():
        for data in (*one.seeds, *derived(one.seeds, INPUTS, random.Random(one.name))):
            one.check(data)


@each
def test_a_target_keeps_its_rules(one):
    """Those of its docstring, for what is known to be good, bad, and nearly so."""
    assert one.check.__doc__

    run(one)


@each
def test_a_target_fails_when_its_parser_is_broken(one, monkeypatch):
    """Else it would prove nothing."""
    place, replacement = BROKEN[one.name]
    monkeypatch.setattr(place, replacement)

    with pytest.raises(Exception):  # noqa: B017 - a rule of the target, or what escapes
        run(one)


@each
def test_the_seeds_reach_the_parsers_that_are_named(one):
    """Some line of each file is run."""
    reached = set()
    sys.setprofile(lambda frame, *_: reached.add(frame.f_code.co_filename))
    try:
        with unthreaded():
            for seed in one.seeds:
                one.check(seed)
    finally:
        sys.setprofile(None)

    assert set() == {str(PROJECT / name) for name in one.parsers} - reached


def test_every_deployed_file_has_a_target_or_no_foreign_bytes():
    """Whoever adds a file says which."""
    deployed = {str(one) for one in package.deployed() if one.suffix == ".py"}
    fuzzed = {name for one in TARGETS.values() for name in one.parsers}
    wanted = {name for name in deployed if not name.endswith("__init__.py")}

    assert wanted == fuzzed | NO_PARSER.keys()
    assert set() == fuzzed & NO_PARSER.keys()


def test_the_run_that_is_written_down_had_every_target():
    """Its sum is right, nothing was found, and the README has the same sum."""
    text = (PROJECT / "docs/reliability.md").read_text().partition("\ntarget ")[2]
    rows = [line.split() for line in text.partition("```")[0].splitlines()[1:]]
    counts = {name: int(inputs.replace(",", "")) for name, inputs, *_ in rows}
    total = counts.pop("all")

    assert counts.keys() == TARGETS.keys()
    assert sum(counts.values()) == total
    assert {"-"} == {row[-1] for row in rows[:-1]}
    assert f"{total:,} inputs" in (PROJECT / "README.md").read_text()


def test_a_finding_fails_the_command_and_says_how_to_see_it_again(monkeypatch, capsys, tmp_path):
    """The others are fuzzed even so."""
    monkeypatch.setattr(command, "KEPT", tmp_path)
    monkeypatch.setattr(
        command, "tried", lambda name: (5, 3, 1.0, ".fuzz/times-crash-1" if name == "times" else "")
    )

    assert (1, 0) == (command.run(["times", "link"]), command.run(["link"]))
    told = capsys.readouterr().out
    assert "again: .venv/bin/python -m tests.fuzz times .fuzz/times-crash-1\n" in told
    assert 2 == told.count("\nlink ")


def test_an_input_that_was_kept_is_tried_again(monkeypatch, tmp_path):
    """It raises what it raised, as long as the parser is broken."""
    kept = tmp_path / "kept"
    kept.write_bytes(b'{"a":1,"a":2}')
    assert 0 == command.main(["json_body", str(kept)])

    monkeypatch.setattr(*BROKEN["json_body"])
    with pytest.raises(AssertionError, match="a key twice"):
        command.main(["json_body", str(kept)])


def test_without_atheris_the_command_says_what_to_do(monkeypatch, capsys):
    """In one line."""
    monkeypatch.setitem(sys.modules, "atheris", None)

    assert 2 == command.main([])
    assert 1 == capsys.readouterr().err.count("\n")
