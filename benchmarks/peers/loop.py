"""A sequential `requests` loop, as in a runbook.

When told to wait it waits so long and tries again, three times at most, as the scripts do that
are published for Graph's throttling. A loop without this is as fast and loses what is refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import requests

from benchmarks.peers.job import FILTER, PATH, Job

if TYPE_CHECKING:
    from collections.abc import Iterable

RETRIES = 3


def failed(session: requests.Session, root: str) -> list[str]:
    """List the ids of what has failed, page after page."""
    url, ids = f"{root}{PATH}?$filter={FILTER}", []
    while url:
        page = called(session, "GET", url).json()
        ids += [request["id"] for request in page["value"]]
        url = page.get("@odata.nextLink")
    return ids


def called(session: requests.Session, method: str, url: str) -> requests.Response:
    for _ in range(RETRIES):
        answer = session.request(method, url)
        if answer.status_code not in {429, 503}:
            return answer
        time.sleep(float(answer.headers.get("Retry-After", "5")))
    return session.request(method, url)


def post_each(job: Job, session: requests.Session, urls: Iterable[str]) -> None:
    """POST to each, one after the other, while there is time; and report."""
    outcomes = []
    job.post()
    for url in urls:
        if job.over():
            break
        with job.timed():
            answer = called(session, "POST", url)
        outcomes.append(answer.status_code == 202)
    job.report(outcomes)


def main() -> None:
    job = Job()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {job.credential}"
    ids = failed(session, job.root)
    post_each(job, session, (f"{job.root}{PATH}/{one}/reprocess" for one in ids))


if __name__ == "__main__":
    main()
