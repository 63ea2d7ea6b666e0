"""The fuzz targets themselves: each runs, and fails when its parser is broken.

Not for: fuzzing, which `make fuzz` does; here each target gets its seeds and a few inputs more.
"""

from __future__ import annotations

import random
import re
import sys

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.targets import ANSWER, FIELD, MAX_LENGTH, TARGETS
from tests.support.package import deployed

command.load_targets()
PROJECT = command.PROJECT
INPUTS = 500  # made of the seeds of each target, always the same
# What is deployed and no target reaches: it reads nothing from outside, or what a parser has read.
NOT_REACHED = {
    "function_app.py": "registers",
    "reprocess_http/page.py": "serves files of our own",
    "reprocess_timer/report.py": "counts",
    "reprocess_timer/sweep.py": "the steps in order",
    "version.py": "a constant",
}
# For each target one way to break its parser, as a careless change might.
BROKEN = {
    "webhook_id": ("reprocess_http.parameters._unambiguous", dict),
    "many_body": ("settings.is_guid", lambda _: True),
    "signature": ("hmac.compare_digest", lambda *_: True),
    "link": ("hmac.compare_digest", lambda *_: True),
    "principal_header": ("reprocess_http.auth.ROLES", {"name"}),
    "address_in_links": ("reprocess_http.responses._ADDRESS", re.compile("(https?)://(.*)")),
    "parameters": ("reprocess_http.parameters.KEY_PARAMETERS", {"dry_run"}),
    "list_query": ("reprocess_http.list_query.bisect_right", lambda *_, **__: 0),
    "token_claims": ("graph.tokens.is_guid", lambda _: True),
    "request_body": ("graph.request._text", lambda found, name: found.get(name)),
    "graph_answers": ("graph.client.Client._path", lambda _, url: url.partition("/v1.0")[2]),
    "whole_call": ("reprocess_http.reprocess_request.DETAILS", {}),
    "table_row": ("table.FIRST_YEAR", 1),
    "one_setting": ("settings._SHOWN", 10_000),
    "all_settings": ("settings.SettingSpec.secret", False),
    "csv_cells": ("reprocess_http.csv_export._FORMULA", {"="}),
    "masked_words": ("planning.causes._ID", re.compile("x{9}")),
    "notice": ("reprocess_timer.teams_card._run", lambda text, **_: {"type": "x", "text": text}),
}
# What parsers stumble over.
SPECIAL = (
    *(one.encode() for one in ("\u0661", "\u212a", "\u0130", "\ufeff", "\u2212", "\uff1d", "ß")),
    *(b"\0", b"\r\n", b"\t", b"=", b"-1", b"0", b"9" * 400, b"1e999", b"NaN", b"\\ud800", b"\xff"),
    *(b"[" * 3000, b'{"":' * 3000, b"..", b"/../", b"%2e%2e", b",", b";", b"?", b"#", b"@", b" "),
    *(FIELD, ANSWER, b"null", b"true", b'""', b"{}", b"[]", b"0001-01-01T00:00:00Z", b""),
)

each = pytest.mark.parametrize("one", TARGETS.values(), ids=TARGETS)


def mutated(seeds, count, chance):
    """Inputs made of seeds: a few bytes replaced by others, by special ones, or by a seed's."""
    for _ in range(count):
        data = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            start, length = chance.randrange(len(data) + 1), chance.randrange(9)
            other = chance.choice(seeds)[start : start + 3 * length]
            piece = chance.choice((chance.randbytes(length), other, chance.choice(SPECIAL)))
            data = (data[:start] + piece + data[start + chance.randrange(9) :])[:MAX_LENGTH]
        yield data


def run(one):
    """Run a target over its seeds, and over inputs made of them."""
    for data in (*one.seeds, *mutated(one.seeds, INPUTS, random.Random(one.name))):
        one.check(data)


@each
def test_a_target_keeps_its_rules(one):
    """For inputs that are right, wrong, and nearly right."""
    run(one)


@each
def test_a_target_fails_when_its_parser_is_broken(one, monkeypatch):
    """Else it would prove nothing."""
    monkeypatch.setattr(*BROKEN[one.name])

    with pytest.raises(Exception):  # noqa: B017 - a broken rule, or what escapes
        run(one)


def test_the_seeds_reach_every_deployed_file_that_reads_foreign_bytes():
    """Whoever adds a file adds a target, or says why there is none."""
    reached = set()
    sys.setprofile(lambda frame, *_: reached.add(frame.f_code.co_filename))
    try:
        for one in TARGETS.values():
            for seed in one.seeds:
                one.check(seed)
    finally:
        sys.setprofile(None)
    files = {str(one) for one in deployed() if one.suffix == ".py" and one.stem != "__init__"}

    assert NOT_REACHED.keys() == {one for one in files if str(PROJECT / one) not in reached}


def test_a_broken_rule_fails_the_command_and_the_other_targets_are_fuzzed(monkeypatch):
    fuzzed = []
    monkeypatch.setattr(command, "fuzz", lambda name: fuzzed.append(name) or name == "signature")

    assert (1, 0) == (command.main([]), command.main(["link"]))
    assert [*TARGETS, "link"] == fuzzed
