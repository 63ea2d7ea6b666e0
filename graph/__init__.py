"""Calls to Microsoft Graph, for both triggers. Nothing else in the app talks to Graph.

Read outcome.py first, then calls.py, then client.py.
"""

from graph.calls import Accepted, Graph, shared
from graph.outcome import (
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    GraphTimeout,
    RequestNotFound,
)
from graph.request import Request, timestamp
