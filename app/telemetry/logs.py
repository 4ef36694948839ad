"""Logs: one JSON object per line on stdout, and no secret in any of them."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

HIDDEN = "***"

NAMES = (
    r"(?:passwords?|passwd|secrets?|token|api[-_ ]?keys?|(?:routing|integration|signing)[-_]?key|authorization|cookie)"
)
# What follows such a name: a list, a quoted string (an unclosed one to the end of the text), the same inside JSON
# that is itself quoted, or one bare word.
VALUE = (
    r"""(?:\[[^\]]*(?:\]|\Z)"""
    r"""|b?"(?:[^"\\]|\\.)*(?:"|\\?\Z)"""
    r"""|b?'(?:[^'\\]|\\.)*(?:'|\\?\Z)"""
    r"""|\\"(?:[^"\\]|\\{2,}"?)*(?:\\"|\\?\Z)"""
    r"""|(?:(?:bearer|basic|token)[ \t]+)?\S+)"""
)
# Each rule runs only on a text that contains one of its hints: a search for a word costs next to nothing.
RULES = (
    (
        ("passw", "secret", "token", "key", "authorization", "cookie"),
        re.compile(rf"""({NAMES}(?:\\*["'][ \t]*[:=,]|[ \t]*[:=]+)[ \t]*){VALUE}""", re.IGNORECASE | re.DOTALL),
        rf"\g<1>{HIDDEN}",
    ),
    (("bearer",), re.compile(r"(bearer\s+)\S+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (("://",), re.compile(r"(://[^\s/?#@:]*:)[^\s/?#]*@"), rf"\g<1>{HIDDEN}@"),
    (("postgres", "redis"), re.compile(r"((?:postgres(?:ql)?|rediss?)://[^\s:/@]*:)\S{0,500}@"), rf"\g<1>{HIDDEN}@"),
    (("whsec_",), re.compile(r"whsec_[\w+/=-]+"), f"whsec_{HIDDEN}"),
    (("eyj",), re.compile(r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*"), HIDDEN),  # a JWT: its header and claims are objects
    (("im",), re.compile(r"im[A-Za-z0-9]{30}"), f"im{HIDDEN}"),
)
SECRET_NAME = re.compile(rf"{NAMES}$", re.IGNORECASE)
DEEPEST = 6

OF_A_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def redacted(text: str) -> str:
    """`text` with what looks like a password, token, key or signature secret replaced by `***`."""
    lowered = text.lower()
    for hints, pattern, instead in RULES:
        if any(hint in lowered for hint in hints):
            text = pattern.sub(instead, text)
    return text


def _clean(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redacted(value)
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return {redacted(str(name)): _field(str(name), inner, depth + 1) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_clean(inner, depth + 1) for inner in value]
    return redacted(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _field(name: str, value: object, depth: int = 0) -> object:
    return HIDDEN if SECRET_NAME.search(name) else _clean(value, depth)


def _message(record: logging.LogRecord) -> str:
    try:
        return redacted(record.getMessage())
    except (TypeError, ValueError, KeyError):  # a format that does not fit its arguments is still worth reading
        return redacted(f"{record.msg} {record.args!r}")


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Json(logging.Formatter):
    """`{ts, level, logger, message, service, process, …extra fields…, exception}`, ts in UTC with milliseconds."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "ts": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "service": self.service,
            "process": record.process,
        }
        for name, value in vars(record).items():
            if name not in OF_A_RECORD:
                entry[f"{name}_" if name in entry else name] = _field(name, value)
        if trouble := self._trouble(record):
            entry["exception"] = trouble
        try:
            return orjson.dumps(entry).decode()
        except TypeError:  # a lone surrogate, or an integer over 64 bits
            return json.dumps(entry)

    def _trouble(self, record: logging.LogRecord) -> str:
        parts = []
        if record.exc_info and record.exc_info[0]:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(record.stack_info)
        return redacted("\n".join(parts))


class Text(Json):
    """The same for people: time, level, logger, message, extra fields; the exception on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: _field(name, value) for name, value in vars(record).items() if name not in OF_A_RECORD}
        fields = "".join(f" {name}={value!r}" for name, value in extra.items())
        line = f"{_moment(record)} {record.levelname:<7} {record.name}: {_message(record)}{fields}"
        trouble = self._trouble(record)
        return f"{line}\n{trouble}" if trouble else line


def configure(level: str, json_logs: bool, service: str) -> None:
    """Send every log of this process to stdout, from `level` (debug, info, warning, error) upwards.

    uvicorn has to be started with `log_config=None`, or it installs handlers of its own again.
    """
    # Else the standard library prints a record that cannot be formatted, unredacted, to stderr.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Json(service) if json_logs else Text(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "temporalio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # One line per request is what the metrics are for; both also write URLs.
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
