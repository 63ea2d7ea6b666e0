"""The local host, with an app that remembers what it tried at the sample tenant's requests.

    SAMPLES='COUNT SEED TIME' python -m emulator.newcomer_host    options are emulator.host's

Not for: any other host; the attempts are put into the memory of this process.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import attempt_store
from attempts import AttemptRecord, Change, Entry, Outcome
from deadline import Deadline
from emulator import host
from emulator.samples import Failure, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator


def changes(failure: Failure) -> Iterator[Change]:
    """Yield what the app has written for a request, one attempt after the other."""
    record = AttemptRecord(failure.request.id, first_failed_at=failure.first_failed)
    for count, attempt in enumerate(failure.attempts, 1):
        outcome = Outcome.REFUSED if attempt.was_refused else Outcome.ACCEPTED
        record = replace(
            record,
            claimed_at=attempt.at,
            last_attempt_at=attempt.at,
            accepted_at=None if attempt.was_refused else attempt.at,
            outcome=outcome,
            count=count,
            tries=count,
        )
        yield Change(record, Entry(attempt.at, "sweep", outcome, attempt.words))


def remember(count: int, seed: int, now: datetime) -> None:
    """Put the attempts at the requests of samples.py into this process's memory."""
    rows = attempt_store.in_memory()._rows
    for failure in Samples(random.Random(seed), now).failures(count):
        etag = ""
        for change in changes(failure):
            (stored,) = rows.write(
                [replace(change, record=replace(change.record, etag=etag))], Deadline(60)
            )
            assert isinstance(stored, AttemptRecord)
            etag = stored.etag


if __name__ == "__main__":
    count, seed, now = os.environ["SAMPLES"].split()
    remember(int(count), int(seed), datetime.fromisoformat(now))
    code = host.main()
    sys.stdout.flush()
    os._exit(code)  # as emulator.host ends
