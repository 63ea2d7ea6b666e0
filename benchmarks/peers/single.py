"""Redeliver's single route: its list of what is due, then a POST for each request.

`root` is the app, the credential a function key.
"""

from __future__ import annotations

import requests

from benchmarks.peers.job import Job
from benchmarks.peers.loop import called


def due(session: requests.Session, root: str) -> list[str]:
    """List the ids of the failed requests that are due, page after page."""
    url, ids = f"{root}/api/requests?plan=due&limit=1000", []
    while url:
        page = called(session, "GET", url).json()
        ids += [failure["requestId"] for failure in page["value"]]
        url = page.get("nextLink")
    return ids


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["x-functions-key"] = job.credential

    def post(request_id: str) -> None:
        called(session, "POST", f"{job.root}/api/requests/{request_id}/reprocess")

    job.post_each(post, due(session, job.root))


if __name__ == "__main__":
    main()
