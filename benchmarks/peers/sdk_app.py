"""The same function on msgraph-sdk: one HTTP trigger that has a request reprocessed.

As its users write it, and no more: no door, no problem documents, no attempts.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import azure.functions as func
from azure.identity import ManagedIdentityCredential
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient

ROOT = os.environ["GRAPH_ENDPOINT"]
SCOPES = ["https://graph.microsoft.com/.default"]

app = func.FunctionApp()
credential = ManagedIdentityCredential()
# Another Graph than the global one is allowed by name, as in a national cloud.
adapter = GraphRequestAdapter(
    AzureIdentityAuthenticationProvider(
        credential, scopes=SCOPES, allowed_hosts=[urlsplit(ROOT).hostname or ""]
    )
)
adapter.base_url = f"{ROOT}/v1.0"
client = GraphServiceClient(request_adapter=adapter)


@app.route("requests/{requestId}/reprocess", methods=["POST"])
async def reprocess(req: func.HttpRequest) -> func.HttpResponse:
    requests = client.identity_governance.entitlement_management.assignment_requests
    one = requests.by_access_package_assignment_request_id(req.route_params["requestId"])
    await one.reprocess.post()
    return func.HttpResponse(status_code=202)
