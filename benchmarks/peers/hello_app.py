"""A hello-world that also holds a credential: the least that can call anything in Azure.

It asks for a token and answers 202. It calls nothing with the token.
"""

from __future__ import annotations

import azure.functions as func
from azure.identity import ManagedIdentityCredential

app = func.FunctionApp()
credential = ManagedIdentityCredential()


@app.route("requests/{requestId}/reprocess", methods=["POST"])
def reprocess(req: func.HttpRequest) -> func.HttpResponse:
    credential.get_token("https://graph.microsoft.com/.default")
    return func.HttpResponse(f"Hello, {req.route_params['requestId']}", status_code=202)
