"""The API does what its description says, and the description says what the API does."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import Service, serving

HERE = Path(__file__).parent
INCIDENTS = ("commands", "incidents", "ingest", "events")


@pytest.fixture(scope="module")
async def described(database_url: str) -> AsyncIterator[Service]:
    """A service that asks for a key."""
    async with serving(database_url) as made:
        yield made


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
