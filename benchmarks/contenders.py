"""What others do about failed deliveries, measured beside a sweep: each lists and reprocesses all.

    python contenders.py loop|sdk <Graph root> <token>

`loop`: one `requests` call after the other, as a runbook does. `sdk`: Microsoft's msgraph-sdk with
20 calls at once, as a careful script does. Prints how many were accepted, and the seconds since
the start of the list. Not for: the sweep itself (__main__.py runs it).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

FILTER = "(state eq 'deliveryFailed' or state eq 'partiallyDelivered')"
AT_ONCE = 20


def loop(root: str, token: str) -> int:
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    path = f"{root}/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
    url, ids = f"{path}?$filter={FILTER}", []
    while url:
        page = session.get(url).json()
        ids += [request["id"] for request in page["value"]]
        url = page.get("@odata.nextLink")
    statuses = Counter(session.post(f"{path}/{one}/reprocess").status_code for one in ids)
    print(dict(statuses), file=sys.stderr)
    return statuses[202]


async def sdk(root: str, token: str) -> int:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph import GraphRequestAdapter, GraphServiceClient
    from msgraph.generated.identity_governance.entitlement_management.assignment_requests import (
        assignment_requests_request_builder as builder,
    )
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    class Token:
        """Gives the token without asking anybody."""

        async def authenticate_request(self, request: Any, _context: object = None) -> None:
            request.headers.try_add("Authorization", f"Bearer {token}")

    adapter = GraphRequestAdapter(Token())
    adapter.base_url = f"{root}/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    requests = client.identity_governance.entitlement_management.assignment_requests
    query = (
        builder.AssignmentRequestsRequestBuilder.AssignmentRequestsRequestBuilderGetQueryParameters
    )
    page = await requests.get(RequestConfiguration(query_parameters=query(filter=FILTER)))
    ids = [request.id for request in page.value]
    while page.odata_next_link:
        page = await requests.with_url(page.odata_next_link).get()
        ids += [request.id for request in page.value]
    gate = asyncio.Semaphore(AT_ONCE)

    async def reprocess(one: str) -> bool:
        async with gate:
            try:
                await requests.by_access_package_assignment_request_id(one).reprocess.post()
            except ODataError:
                return False
            return True

    return sum(await asyncio.gather(*map(reprocess, ids)))


def main() -> None:
    who, root, token = sys.argv[1:]
    if who == "sdk":  # its import is not counted: a long-running script pays it once
        import msgraph  # noqa: F401
    started = time.perf_counter()
    accepted = loop(root, token) if who == "loop" else asyncio.run(sdk(root, token))
    print(json.dumps({"accepted": accepted, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
