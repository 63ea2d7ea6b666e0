"""A sequential `requests` loop, as in a runbook.

It waits as `Retry-After` says and tries again, three times at most, as the scripts do that are
published for Graph's throttling. A loop without this is as fast, and loses what is refused.
"""

from __future__ import annotations

import time
from typing import Any

import requests

from benchmarks.peers.job import FILTER, PATH, Job

RETRIES = 3


def failed(session: requests.Session, root: str) -> list[str]:
    """List the ids of the failed requests, page after page."""
    url, ids = f"{root}{PATH}?$filter={FILTER}", []
    while url:
        page = called(session, "GET", url).json()
        ids += [request["id"] for request in page["value"]]
        url = page.get("@odata.nextLink")
    return ids


def called(session: requests.Session, method: str, url: str, **body: Any) -> requests.Response:
    for _ in range(RETRIES):
        answer = session.request(method, url, **body)
        if answer.status_code not in {429, 503}:
            return answer
        time.sleep(float(answer.headers.get("Retry-After", "5")))
    return session.request(method, url, **body)


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {job.credential}"

    def post(request_id: str) -> None:
        called(session, "POST", f"{job.root}{PATH}/{request_id}/reprocess")

    job.post_each(post, failed(session, job.root))


if __name__ == "__main__":
    main()
