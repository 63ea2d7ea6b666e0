"""The client of Table Storage: how it is reached, how long, and what its errors mean.

Not for: rows (table.py).
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential

from session import bounded_by, new_session, time_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deadline import Deadline
    from settings import Settings

READ_SECONDS = 10.0  # longest silence
CONNECTIONS = 64  # kept open; GRAPH_CONCURRENCY may be as high


class _Transport(RequestsTransport):  # type: ignore[misc] # azure-core loads it when asked for
    """Ends azure-core's tries, and its pauses between them, with the deadline."""

    def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as azure-core has it
        """Send, or raise TimeoutError: azure-core would try again after any error of its own."""
        failure = None
        try:
            if time_left():
                return super().send(request, **options)
        except AzureError as error:
            if time_left():
                raise
            failure = error
        raise TimeoutError from failure

    def sleep(self, duration: float) -> None:
        time.sleep(min(duration, time_left()))


def new_client(settings: Settings) -> TableClient | None:
    """Return a client with the managed identity, else with the connection string's key.

    None where no storage is configured.
    """
    transport = _Transport(
        session=new_session(CONNECTIONS),
        session_owner=False,
        read_timeout=READ_SECONDS,
        # as requests has it: Azurite's certificate on one machine is no public one
        connection_verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
    )
    name, uri = settings.attempts_table, settings.storage_table_uri
    if uri:
        client_id = settings.storage_client_id
        credential = ManagedIdentityCredential(
            client_id=client_id, transport=transport, retry_total=0
        )
        return TableClient(uri, name, credential=credential, transport=transport)
    if not settings.storage_connection:
        return None
    return TableClient.from_connection_string(
        settings.storage_connection, name, transport=transport
    )


@contextlib.contextmanager
def asking(deadline: Deadline) -> Iterator[None]:
    """End one operation with the deadline, and raise only AzureError."""
    if not deadline.left():
        raise AzureError("No time was left to ask Table Storage.")
    try:
        with bounded_by(deadline):
            yield
    except AzureError:
        raise
    except TimeoutError as error:
        no_time = ServiceResponseTimeoutError("No time was left to ask Table Storage again.")
        raise (error.__cause__ or no_time) from None
    except Exception as error:  # azure-data-tables lets an unreadable answer escape as anything
        what = f"An answer of Table Storage cannot be read ({type(error).__name__})."
        raise AzureError(what, error=error) from error


# -- errors --

# What to do about an error, by Table Storage's name of it.
_REMEDIES = {
    "AuthorizationFailure": "let the app through the storage account's network rules (firewall)",
    "AuthorizationPermissionMismatch": "give the app's identity the role Storage Table Data "
    "Contributor on the storage account; a new role takes some minutes to arrive",
    "KeyBasedAuthenticationNotPermitted": "access by key is switched off: set "
    "AzureWebJobsStorage__accountName in place of the connection string",
    "TableBeingDeleted": "wait a minute until the table is deleted; the next write creates it",
    "ServerBusy": "wait, the storage account is busy",
}


def what_to_do(error: AzureError) -> str:
    """Return one sentence: the status and code of an error of the table, and what to do."""
    status, code = status_of(error), error_code(error)
    if status:
        remedy = _REMEDIES.get(code, "try again, and look for an outage")
        return f"Table Storage answered {f'{status} {code}'.strip()}: {remedy}."
    if isinstance(error, ServiceRequestError):
        return "Table Storage cannot be reached: check the storage account's address and network."
    if isinstance(error, ClientAuthenticationError):
        return "There is no token for Table Storage: check the app's managed identity."
    return f"Table Storage gave no answer in time or of use ({type(error).__name__}): try again."


def status_of(error: AzureError) -> int | None:
    """Return the HTTP status that an error came with."""
    return getattr(error, "status_code", None)


def name_of(error: AzureError) -> str:
    """Return an error as a log line names it: its class, and the HTTP status where it has one."""
    return f"{type(error).__name__} {status_of(error) or ''}".strip()


def error_code(error: AzureError) -> str:
    """Return Table Storage's name of an error, empty when it gave none."""
    code = getattr(error, "error_code", None)
    if not code:  # create_entity decodes no error
        headers = getattr(getattr(error, "response", None), "headers", {})
        code = headers.get("x-ms-error-code", "")
    return str(getattr(code, "value", code))


def is_changed(error: AzureError) -> bool:
    """Whether another version of a row is stored, or none: nothing that concerns the table."""
    return status_of(error) in {404, 409, 412} and not error_code(error).startswith("Table")
