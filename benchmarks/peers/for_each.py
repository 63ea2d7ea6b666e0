"""Several calls at once, as a Logic App's For-each makes them.

With the default retry policy of its HTTP action: 408, 429 and 5xx are tried again up to four
times, at random intervals that grow from 7.5 seconds and stay between 5 and 45
(https://learn.microsoft.com/azure/logic-apps/error-exception-handling). Not for: what the engine
of Logic Apps adds to each action, and what it charges for it.
"""

from __future__ import annotations

import random
import time

import requests

from benchmarks.peers.job import PATH, Job
from benchmarks.peers.loop import failed

INTERVAL, SHORTEST, LONGEST = 7.5, 5.0, 45.0
RETRIES = 4


def wait(retry: int) -> float:
    """Draw the seconds before a retry, of which the first is 1."""
    least = max(SHORTEST, INTERVAL * 2 ** (retry - 2) if retry > 1 else 0.0)
    return random.uniform(least, min(LONGEST, INTERVAL * 2 ** (retry - 1)))


def main() -> None:
    job = Job()
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=job.at_once))
    session.headers["Authorization"] = f"Bearer {job.credential}"

    def post(request_id: str) -> None:
        url = f"{job.root}{PATH}/{request_id}/reprocess"
        answer = session.post(url)
        for retry in range(1, RETRIES + 1):
            if answer.status_code not in {408, 429} and answer.status_code < 500:
                break
            time.sleep(wait(retry))
            answer = session.post(url)

    job.post_each(post, failed(session, job.root))


if __name__ == "__main__":
    main()
