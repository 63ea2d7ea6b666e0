"""Redeliver's own routes: its list of what is due, then a POST for each request, or for many.

    python -m benchmarks.peers.routes single <at once> ...     POST /api/requests/{requestId}/reprocess
    python -m benchmarks.peers.routes bulk ...                 POST /api/requests/reprocess

`root` is the app, the credential a function key. The bulk route is called as the page does: with 20
ids, then with 200 in each call.
"""

from __future__ import annotations

import sys

import requests

from benchmarks.peers.job import Job
from benchmarks.peers.loop import called

FIRST_CHUNK, CHUNK = 20, 200


def due(session: requests.Session, root: str) -> list[str]:
    url, ids = f"{root}/api/requests?plan=due&limit=1000", []
    while url:
        page = called(session, "GET", url).json()
        ids += [failure["requestId"] for failure in page["value"]]
        url = page.get("nextLink")
    return ids


def single(job: Job, session: requests.Session, at_once: int) -> None:
    def post(request_id: str) -> bool:
        url = f"{job.root}/api/requests/{request_id}/reprocess"
        return called(session, "POST", url).status_code == 202

    job.post_each(post, due(session, job.root), at_once)


def bulk(job: Job, session: requests.Session) -> None:
    ids, accepted = due(session, job.root), list[bool]()
    job.start_posting()
    while chunk := ids[len(accepted) :][: CHUNK if accepted else FIRST_CHUNK]:
        answer = called(
            session, "POST", f"{job.root}/api/requests/reprocess", json={"requestIds": chunk}
        )
        accepted += [one.get("outcome") == "accepted" for one in answer.json()["results"]]
    job.report(accepted)


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["x-functions-key"] = job.credential
    if sys.argv[1] == "bulk":
        bulk(job, session)
    else:
        single(job, session, int(sys.argv[2]))


if __name__ == "__main__":
    main()
