"""Microsoft's msgraph-sdk, several calls at once.

The SDK itself waits as `Retry-After` says and tries again, three times. Its import is not counted:
a long-running program pays it once.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.identity_governance.entitlement_management.assignment_requests import (
    assignment_requests_request_builder as builder,
)
from msgraph.generated.models.o_data_errors.o_data_error import ODataError

from benchmarks.peers.job import FILTER, Job

QUERY = builder.AssignmentRequestsRequestBuilder.AssignmentRequestsRequestBuilderGetQueryParameters


class Token:
    """Adds a token that is there already."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def authenticate_request(self, request: Any, _context: object = None) -> None:
        request.headers.try_add("Authorization", f"Bearer {self.token}")


async def run(job: Job) -> None:
    adapter = GraphRequestAdapter(Token(job.credential))
    adapter.base_url = f"{job.root}/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    requests = client.identity_governance.entitlement_management.assignment_requests
    page = await requests.get(RequestConfiguration(query_parameters=QUERY(filter=FILTER)))
    ids = [request.id for request in page.value]
    while page.odata_next_link:
        page = await requests.with_url(page.odata_next_link).get()
        ids += [request.id for request in page.value]
    gate = asyncio.Semaphore(job.at_once)

    async def reprocess(request_id: str) -> None:
        async with gate:
            if not job.is_over():
                one = requests.by_access_package_assignment_request_id(request_id)
                with contextlib.suppress(ODataError):
                    await one.reprocess.post()
                job.note_end()

    job.start_posting()
    await asyncio.gather(*map(reprocess, ids))
    job.report(len(job.ended))


if __name__ == "__main__":
    asyncio.run(run(Job()))
