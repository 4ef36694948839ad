"""Refusals as gRPC has them: a status, and the details of google.rpc (https://google.aip.dev/193)."""

from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from app.domain.decode import printable
from app.domain.errors import Invalid, RateLimited, Refused, Unavailable

STATUS: dict[str, grpc.StatusCode] = {
    "VALIDATION_ERROR": grpc.StatusCode.INVALID_ARGUMENT,
    "AUTHENTICATION_ERROR": grpc.StatusCode.UNAUTHENTICATED,
    "AUTHORIZATION_ERROR": grpc.StatusCode.PERMISSION_DENIED,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "METHOD_NOT_ALLOWED": grpc.StatusCode.UNIMPLEMENTED,
    "CONFLICT": grpc.StatusCode.ABORTED,
    "INVALID_STATE_TRANSITION": grpc.StatusCode.FAILED_PRECONDITION,
    "PAYLOAD_TOO_LARGE": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "RATE_LIMIT_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "INTERNAL_ERROR": grpc.StatusCode.INTERNAL,
    "PROCESSING_ERROR": grpc.StatusCode.INTERNAL,
    "SERVICE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
}
DOMAIN = "llm-incident-manager"
MESSAGE_MAX = 300
DETAILS_MAX_BYTES = 2048
"""Statuses travel as headers, of which clients take 8 KiB: the message by itself, and again with these in base64."""


class Broken(Refused):
    """A mistake of ours. It has been logged; its own words stay here."""

    code = "INTERNAL_ERROR"

    def __init__(self) -> None:
        super().__init__("Something went wrong here; it has been logged.")


class Unimplemented(Refused):
    code = "METHOD_NOT_ALLOWED"


def code(refusal: Refused) -> grpc.StatusCode:
    return STATUS.get(refusal.code, grpc.StatusCode.INTERNAL)


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", refusal: Refused) -> NoReturn:
    """Ends the call with the refusal."""
    await context.abort_with_status(rpc_status.to_status(status(refusal)))
    raise AssertionError("a call that was aborted goes on")


def status(refusal: Refused) -> Status:
    """The refusal with as many of its details as fit."""
    found = Status(code=code(refusal).value[0], message=printable(refusal.message)[:MESSAGE_MAX])
    for detail in _details(refusal):
        packed = Packed()
        packed.Pack(detail)
        if found.ByteSize() + packed.ByteSize() <= DETAILS_MAX_BYTES:
            found.details.append(packed)
    return found


def _details(refusal: Refused) -> list[Message]:
    given = refusal.details if isinstance(refusal.details, dict) else {}
    about = {name: printable(_text(value))[:MESSAGE_MAX] for name, value in given.items()}
    details: list[Message] = [ErrorInfo(reason=refusal.code, domain=DOMAIN, metadata=about)]
    match refusal:
        case Unavailable() | RateLimited():
            details.append(RetryInfo(retry_delay=Duration(seconds=refusal.retry_after)))
        case Invalid() if isinstance(refusal.details, list):
            details.append(_violations(refusal.details))
    return details


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _violations(problems: list[dict[str, str]]) -> BadRequest:
    found = BadRequest()
    for problem in problems:
        found.field_violations.add(
            field=printable(problem["field"])[:100], description=printable(problem["message"])[:150]
        )
        if found.ByteSize() > DETAILS_MAX_BYTES // 2:
            del found.field_violations[-1]
            break
    return found
