"""Plain stand-ins for the messages of Microsoft's FunctionRpc protocol.

Not for: sending anything: within one process nothing is serialised, so only attribute names count.
The worker library is given this module in place of the generated protobuf classes.
"""

from __future__ import annotations

import types
from types import SimpleNamespace
from typing import Any


class _Enums(type):
    """Lets a message class answer for the enum values it nests, each by its own name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Message(SimpleNamespace, metaclass=_Enums):
    """A message with whatever fields it was made with; others are None, as nothing reads them."""

    def __getattr__(self, name: str) -> Any:
        # The worker tells a message from the module by asking it for a class such as TypedData.
        if name.startswith("__") or name[0].isupper():
            raise AttributeError(name)
        return None


def message(**fields: Any) -> _Message:
    """Return a message with these fields."""
    return _Message(**fields)


class TypedData(_Message):
    """The one message with a choice of data: exactly one of its fields is set."""

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's own name
        """Return the name of the field that is set."""
        return next((name for name, value in vars(self).items() if value is not None), None)


class ParameterBinding(_Message):
    """An argument of an invocation; its data never comes by shared memory here."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's own name
        """Return the name of the field that is set."""
        return "data"


class BindingInfo(_Message):
    """One binding of a function; the numbers are the protocol's."""

    inout = 2
    out = 1
    undefined = 0


class StatusResult(_Message):
    """The result of a call; in the protocol Failure is 0."""

    Failure = 0
    Success = 1
    Cancelled = 2


def __getattr__(name: str) -> Any:
    """Make every other message class of the protocol on demand."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _Enums(name, (_Message,), {})


def envelope(request: Any) -> SimpleNamespace:
    """Wrap a request as the worker library takes it."""
    module: types.ModuleType = __import__("emulator.protos", fromlist=["x"])
    return SimpleNamespace(request=request, properties={"host": "127.0.0.1", "protos": module})
