"""The one road to Microsoft Graph, for both triggers. Nothing else in the app talks to Graph.

Read errors.py first, then calls.py; the other files are what calls.py uses.
"""

from graph.calls import Accepted, Graph, shared
from graph.errors import (
    BatchNotAccepted,
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    GraphTimeout,
    RequestNotFound,
)
from graph.request import DetailedRequest, Request, timestamp

__all__ = [
    "Accepted",
    "BatchNotAccepted",
    "DetailedRequest",
    "Graph",
    "GraphDenied",
    "GraphError",
    "GraphFailed",
    "GraphRefused",
    "GraphThrottled",
    "GraphTimeout",
    "Request",
    "RequestNotFound",
    "shared",
    "timestamp",
]
