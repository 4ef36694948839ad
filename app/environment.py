"""Settings from outside, and every mistake in them at once.

Lowest precedence first: the defaults of `app/config.py`, the YAML file named by `CONFIG_PATH`, the plain variables
(`VARIABLES`), then `LLM_IM__SECTION__KEY`. An empty variable counts as not set.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from app.config import Settings
from app.section import Section

Location = tuple[str | int, ...]

PREFIX = "LLM_IM__"
VARIABLES = {
    "DATABASE_URL": "storage.connection_string",
    "DATABASE_POOL_SIZE": "storage.pool_size",
    "REDIS_URL": "redis.url",
    "CIRCUIT_BREAKERS_CONFIG": "breaking.path",
    "API_HOST": "server.host",
    "API_PORT": "server.api_port",
    "GRPC_HOST": "server.grpc_host",
    "GRPC_PORT": "server.grpc_port",
    "ENABLE_ML_CLASSIFICATION": "ml.enabled",
    "ENABLE_ENRICHMENT": "enrichment.enabled",
    "ENABLE_CORRELATION": "correlation.enabled",
    "ENABLE_ESCALATION": "escalation.enabled",
    "RUST_LOG": "observability.log_level",
    "SMTP_USERNAME": "notifications.smtp.username",
    "SMTP_PASSWORD": "notifications.smtp.password",
    "SLACK_WEBHOOK_URL": "notifications.slack.webhook_url",
    "SLACK_BOT_TOKEN": "notifications.slack.bot_token",
    "PAGERDUTY_INTEGRATION_KEY": "notifications.pagerduty.integration_key",
    "TEMPORAL_ADDRESS": "temporal.address",
    "TEMPORAL_NAMESPACE": "temporal.namespace",
    "TEMPORAL_API_KEY": "temporal.api_key",
    "TEMPORAL_TLS": "temporal.tls",
    "TEMPORAL_TLS_SERVER_NAME": "temporal.tls_server_name",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "temporal.tls_server_ca_cert_path",
    "TEMPORAL_TLS_CLIENT_CERT_PATH": "temporal.tls_client_cert_path",
    "TEMPORAL_TLS_CLIENT_KEY_PATH": "temporal.tls_client_key_path",
}
FORMER_NAMES = {
    "processing.deduplication_enabled": "deduplication.fingerprint_enabled",
    "processing.deduplication_window_secs": "deduplication.window_secs",
    "processing.correlation_enabled": "correlation.enabled",
}
RUST_TARGET = "llm_incident_manager"
RUST_LEVELS = {"off": "error", "error": "error", "warn": "warning", "info": "info", "debug": "debug", "trace": "debug"}


class BadSettings(Exception):
    """What is wrong with the settings: one line per mistake, no secret in any of them."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "One setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n".join([f"{count} wrong:", *(f"  {mistake}" for mistake in mistakes)]))
        self.mistakes = mistakes


class Given(NamedTuple):
    """One value from outside: the key as its author wrote it, where it belongs, what it says."""

    written: str
    path: tuple[str, ...]
    value: object


def load(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` and the file it names describe.

    Raises:
        BadSettings: names every unknown key and every bad value, as written, and what is allowed.
    """
    mistakes: list[str] = []
    given = [*_from_variables(environ), *_from_prefixed(environ)]
    try:
        given = [*_from_file(environ), *given]
    except BadSettings as unreadable:
        mistakes += unreadable.mistakes
    values: dict[str, Any] = {}
    written: dict[Location, str] = {}
    for name, path, value in _with_tokens(given, environ):
        if mistake := _misplaced(".".join(path), value):
            mistakes.append(f"{name}: {mistake}")
        elif value is not None and ".".join(path) in KEYS:
            _put(values, path, value)
            written[path] = name
    try:
        settings = Settings.model_validate(values)
    except ValidationError as wrong:
        raise BadSettings(mistakes + [_mistake(error, written) for error in wrong.errors()]) from None
    if mistakes:
        raise BadSettings(mistakes)
    return settings


def _from_file(environ: Mapping[str, str]) -> Iterator[Given]:
    name = environ.get("CONFIG_PATH")
    if not name:
        return
    try:
        content = yaml.safe_load(Path(name).read_text("utf-8"))
    except OSError as no:
        raise BadSettings([f"CONFIG_PATH = {name!r}: {no.strerror}."]) from None
    except UnicodeDecodeError:
        raise BadSettings([f"CONFIG_PATH = {name!r}: is not UTF-8 text."]) from None
    except yaml.YAMLError as no:
        # The error's own text quotes the file, and with it perhaps a password.
        mark = getattr(no, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadSettings([f"CONFIG_PATH = {name!r}: is not YAML{where}."]) from None
    if isinstance(content, dict):
        yield from _leaves(name, (), content)
    elif content is not None:
        raise BadSettings([f"CONFIG_PATH = {name!r}: must hold sections with keys (`server:`, `storage:`, …)."])


def _leaves(file: str, above: tuple[str, ...], content: Mapping[object, object]) -> Iterator[Given]:
    for key, value in content.items():
        path = (*above, str(key))
        if isinstance(value, dict) and value and not _is(dict, _current(path)):
            yield from _leaves(file, path, value)
        else:
            yield Given(f"{file}: {'.'.join(path)}", _current(path), value)


def _from_variables(environ: Mapping[str, str]) -> Iterator[Given]:
    for name, key in VARIABLES.items():
        if text := environ.get(name):
            yield Given(name, tuple(key.split(".")), rust_log_level(text) if name == "RUST_LOG" else text)


def _from_prefixed(environ: Mapping[str, str]) -> Iterator[Given]:
    for name, text in sorted(environ.items()):
        if text and name.upper().startswith(PREFIX):
            path = _current(tuple(name[len(PREFIX) :].lower().split("__")))
            yield Given(name, path, _items(text) if _is(tuple, path) or _is(dict, path) else text)


def _with_tokens(given: Iterable[Given], environ: Mapping[str, str]) -> Iterator[Given]:
    """All that is given, and beside each `auth_token_env` the token that it names, where the environment has it."""
    for one in given:
        yield one
        if one.path[-1] == "auth_token_env" and (token := environ.get(str(one.value))):
            yield Given(one.written, (*one.path[:-1], "token"), token)


def _is(kind: type, path: tuple[str, ...]) -> bool:
    field = KEYS.get(".".join(path))
    return field is not None and kind in _parts(field.annotation)


def _items(text: str) -> object:
    """A list in a variable: JSON, or `a,b`. A mapping: JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return [item.strip() for item in text.split(",")]


def rust_log_level(directives: str) -> str | None:
    """The most verbose level that `directives` give this program; None if none.

    The format is RUST_LOG's (`info,llm_incident_manager=debug`; Rust's env_logger). Where a level doesn't exist,
    `directives` come back as they are, for the settings to refuse.
    """
    levels = []
    for directive in filter(None, (part.strip() for part in directives.split(","))):
        target, _, level = directive.rpartition("=")
        if level == RUST_TARGET:
            target, level = level, "trace"
        if level.lower() not in RUST_LEVELS:
            return directives
        if target in ("", RUST_TARGET) or target.startswith(f"{RUST_TARGET}::"):
            levels.append(RUST_LEVELS[level.lower()])
    return min(levels, key=["debug", "info", "warning", "error"].index, default=None)


def _current(path: tuple[str, ...]) -> tuple[str, ...]:
    key = ".".join(path)
    return tuple(FORMER_NAMES.get(key, key).split("."))


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _misplaced(key: str, value: object) -> str | None:
    """Why nothing can be set at `key`. The value stays unsaid: a password under a mistyped key is still a password."""
    if key in KEYS:
        return None
    if key not in MODELS:
        return _unknown(key)
    allowed = ", ".join(MODELS[key].model_fields)
    return f"is a section; its keys are {allowed}." if value else None


def _unknown(key: str) -> str:
    section = key
    while section not in MODELS:
        section = section.rpartition(".")[0]
    return f"unknown key; {section or 'the top level'} has {', '.join(MODELS[section].model_fields)}."


def _mistake(error: ErrorDetails, written: Mapping[Location, str]) -> str:
    """One line: the key as written, its value unless secret, what is wrong, what the setting means."""
    loc = error["loc"]
    key = ".".join(part for part in loc if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        return f"{_as_written(loc, written)}: {_unknown(key)}"
    field, value = KEYS.get(key), error["input"]
    public = field is not None and SecretStr not in _parts(field.annotation) and isinstance(value, str | int | float)
    shown = " = " + re.sub(r"://[^/@]*@", "://***@", repr(value)) if public else ""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    meaning = f" ({field.description})" if field else ""
    return f"{_as_written(loc, written)}{shown}: {message}.{meaning}"


def _as_written(loc: Location, written: Mapping[Location, str]) -> str:
    for depth in range(len(loc), 0, -1):
        if name := written.get(loc[:depth]):
            return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[depth:])
    return " + ".join(name for path, name in written.items() if path[: len(loc)] == loc)


def _parts(annotation: object) -> set[object]:
    """Every type an annotation is made of: `tuple[Channel, ...] | None` gives tuple, Channel and more."""
    return {annotation, get_origin(annotation)}.union(*map(_parts, get_args(annotation)))


def _models(model: type[BaseModel], key: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    yield key, model
    for name, field in model.model_fields.items():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, Section):
                yield from _models(part, f"{key}.{name}".lstrip("."))


MODELS = dict(_models(Settings))
KEYS: dict[str, FieldInfo] = {
    f"{section}.{name}".lstrip("."): field
    for section, model in MODELS.items()
    for name, field in model.model_fields.items()
    if field.annotation is not MODELS.get(f"{section}.{name}".lstrip("."))
}
