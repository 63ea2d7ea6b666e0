"""Redeliver's bulk route, called as the page does: its list of what is due, 20 ids, then more a call.

`root` is the app, the credential a function key.
"""

from __future__ import annotations

import requests

from benchmarks.peers.job import Job
from benchmarks.peers.loop import called
from benchmarks.peers.single import due

FIRST = 20


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["x-functions-key"] = job.credential
    ids, tried = due(session, job.root), 0
    job.start_posting()
    while chunk := ids[tried : tried + (job.at_once if tried else FIRST)]:
        url = f"{job.root}/api/requests/reprocess"
        called(session, "POST", url, json={"requestIds": chunk})
        tried += len(chunk)
    job.report(tried)


if __name__ == "__main__":
    main()
