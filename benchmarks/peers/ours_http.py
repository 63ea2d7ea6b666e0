"""Redeliver over HTTP, one request after the other: the app's own list, then a POST for each.

As a flow or a script does that wants to choose by itself. `root` is the app, the credential a
function key. When told to wait it does so, as the connector's engine would.
"""

from __future__ import annotations

import requests

from benchmarks.peers.job import Job
from benchmarks.peers.loop import called, post_each


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["x-functions-key"] = job.credential
    url, ids = f"{job.root}/api/requests?plan=due&limit=1000", []
    while url:
        page = called(session, "GET", url).json()
        ids += [failure["requestId"] for failure in page["value"]]
        url = page.get("nextLink")
    post_each(job, session, (f"{job.root}/api/requests/{one}/reprocess" for one in ids))


if __name__ == "__main__":
    main()
