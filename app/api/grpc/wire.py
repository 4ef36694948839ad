"""What every rpc needs: what a message says, who sent it, and moments as protobuf has them."""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from app.domain.access import Principal
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.requests import Ask
from app.sources.strict_json import faults

Context = grpc.aio.ServicerContext[Any, Any]

CALLER: ContextVar[Principal] = ContextVar("CALLER")
"""Whoever the door let in for the call under way."""


def fields(request: Message) -> dict[str, Any]:
    """What a message says, by the names of its fields; what it leaves out is not there. Raises: Invalid."""
    for field, value in request.ListFields():
        if isinstance(value, Timestamp):
            _check_moment(field.name, value)
    said = MessageToDict(request, preserving_proto_field_name=True)
    for fault in faults(said):
        raise fault
    return said


def _check_moment(name: str, value: Timestamp) -> None:
    try:
        value.ToDatetime()
        value.ToJsonString()
    except (ValueError, OverflowError):
        raise Invalid.field(name, "must lie between the years 1 and 9999, with 0 to 999,999,999 nanos") from None


def metadata(context: Context) -> Mapping[str, str]:
    """What came with the call, in text."""
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def address(context: Context) -> str:
    """Where a call comes from, without the port. Of gRPC it is `ipv4:127.0.0.1:50000` or `ipv6:%5B::1%5D:50000`."""
    return unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")


def moment(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def taken_from(said: dict[str, Any], name: str) -> str:
    """Takes an id out of what a request says. Raises: Invalid."""
    found = said.pop(name, "")
    if not found:
        raise Invalid.field(name, "is required")
    return str(found)


def command(kind: CommandKind, shape: type[Record], said: Mapping[str, Any], context: Context) -> Ask:
    """The command that a request means, whose other fields are those of `shape`. Raises: Invalid."""
    asked = decode(shape, said).model_dump(exclude_none=True)
    return decode(Ask, {**asked, "kind": kind, "key": metadata(context).get("idempotency-key")})
