"""The API does what its description says, and the description says what the API does."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.api.conftest import Service, serving

HERE = Path(__file__).parent
INCIDENTS = ("commands", "incidents", "ingest", "events")


@pytest.fixture(scope="module")
async def described(database_url: str) -> AsyncIterator[Service]:
    """A service that asks for a key."""
    async with serving(database_url) as made:
        yield made


@pytest.fixture(scope="module")
async def document(api: httpx.AsyncClient) -> Any:
    return (await api.get("/openapi.json")).json()


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(part: Any, document: Any) -> Any:
    """What a $ref names, else the part itself."""
    while "$ref" in part:
        name = part["$ref"].split("/")
        part = document[name[1]][name[2]][name[3]]
    return part


def test_every_operation_is_described_with_every_refusal_in_one_form(document: Any) -> None:
    error = {"$ref": "#/components/schemas/Error"}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["tags"], name
        assert "422" not in operation["responses"], name
        open_to_all = operation.get("security") == [] and "health" in operation["tags"]
        assert open_to_all or operation["responses"].keys() >= {"400", "401", "429", "503"}, name
        if "requestBody" in operation:
            assert "413" in operation["responses"], name
        for status, answer in operation["responses"].items():
            if status[0] == "4" and not name.startswith("POST /v2/"):
                assert resolved(answer, document)["content"]["application/json"]["schema"] == error, name
    assert {"key", "bearer"} <= document["components"]["securitySchemes"].keys()


def test_every_json_body_has_an_example_and_every_example_is_one(document: Any) -> None:
    for name, operation in operations(document):
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if media is not None:
            assert fits(media["example"], media["schema"], document), name
    for status, media in answers(document):
        example = media.get("example") or example_of(media["schema"], document)
        assert fits(example, media["schema"], document), status


def answers(document: Any) -> Iterator[tuple[str, Any]]:
    """The JSON of every answer that is no refusal and is more than any object."""
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            media = resolved(answer, document).get("content", {}).get("application/json", {})
            if status[0] == "2" and media.get("schema", {}).keys() - {"title", "type", "additionalProperties"}:
                yield f"{name} {status}", media


def example_of(schema: Any, document: Any) -> Any:
    if schema.get("type") == "array":
        return [example_of(schema["items"], document)]
    for one in schema.get("anyOf", [schema]):
        if examples := resolved(one, document).get("examples"):
            return examples[0]
    return None


def fits(example: object, schema: Any, document: Any) -> bool:
    return jsonschema_rs.validator_for({"components": document["components"]} | schema).is_valid(example)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("those", ["--include-tag", "--exclude-tag"])
async def test_whatever_the_description_allows_or_forbids_is_answered_as_it_says(
    described: Service, those: str, tmp_path: Path
) -> None:
    """First what is about incidents, as long as there are few: every silence that is tried out looks at all of them."""
    key = await described.cli("key", "create", "--name", f"fuzz {those}", "--role", "admin")
    tags = [argument for tag in INCIDENTS for argument in (those, tag)]
    tried = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run",
        f"{described.url}/openapi.json", "--checks", "all", *tags,
        cwd=tmp_path, env=os.environ | {"LLM_IM_API_KEY": key.said.strip()},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await tried.communicate()
    assert tried.returncode == 0, said.decode()
