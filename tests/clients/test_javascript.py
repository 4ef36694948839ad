"""The published JavaScript client and graphql-ws itself, unchanged, against the product; a restart in between."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any
from uuid import uuid4

import pytest

from tests.support.product import Product, product

HERE = Path(__file__).parent / "npm"
FIVE = ("criticalIncidents", "incidentUpdates", "newIncidents", "incidentStateChanges", "alerts")

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node and npm")


class Script:
    """A running program of `npm/`; what it says is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.heard: list[tuple[str, Any]] = []

    async def next(self) -> tuple[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, f"it ended; heard {self.heard}"
        said = json.loads(line)
        self.heard.append((said["what"], said["data"]))
        return self.heard[-1]

    async def until(self, what: str, *, times: int = 1, **like: object) -> None:
        """Until it has said this so many times in all, with these values."""
        async with asyncio.timeout(40):
            while sum(kind == what and like.items() <= (data or {}).items() for kind, data in self.heard) < times:
                await self.next()


@pytest.fixture(scope="module")
def packages() -> Path:
    """The packages, as the lock file has them."""
    install = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(install, cwd=HERE, check=True, capture_output=True, timeout=110)
    return HERE


@asynccontextmanager
async def running(name: str, packages: Path, url: str) -> AsyncIterator[Script]:
    made = await asyncio.create_subprocess_exec(
        "node", name, url, "no-key-is-needed", cwd=packages,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    try:
        yield Script(made)
    finally:
        assert made.stdin is not None
        made.stdin.close()
        await made.wait()


@pytest.fixture(scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    async with product(tmp_path_factory.mktemp("javascript")) as running_:
        yield running_


async def reported(made: Product, **alert: Any) -> str:
    body = {"source": "javascript", "title": f"slow {uuid4()}", "severity": "P0"} | alert
    return str((await made.granted("/alerts", body, str(uuid4())))["incident_id"])


async def hears_all_five(made: Product, script: Script) -> None:
    """A new incident, an acknowledge: every subscription of the script hears of it, whenever it has begun to listen."""
    async with asyncio.timeout(60):
        while True:
            title = f"slow {uuid4()}"
            id_ = await reported(made, title=title)
            await made.granted(f"/incidents/{id_}/acknowledge", {}, str(uuid4()))
            heard: set[str] = set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    while heard != set(FIVE):
                        found = await script.next()
                        said = json.dumps(found[1])
                        if found[0] in FIVE and (id_ in said or title in said):
                            heard.add(found[0])
            if heard == set(FIVE):
                return


async def test_five_subscriptions_and_a_restart_after_which_all_are_heard(made: Product, packages: Path) -> None:
    url = f"ws://127.0.0.1:{made.ports['SERVER__HTTP_PORT']}/graphql/ws"
    async with running("published.mjs", packages, url) as script:
        await script.until("connected")
        await hears_all_five(made, script)
        for again, number in enumerate((SIGTERM, SIGKILL), 1):
            made.killed.add(gateway := made.pid("gateway"))
            os.kill(gateway, number)
            await script.until("disconnected", times=again)
            await script.until("connected", times=again + 1)
            id_ = await reported(made, title=f"after {number.name}")
            await script.until("newIncidents", id=id_)
            await script.until("criticalIncidents", id=id_)
            await made.granted(f"/incidents/{id_}/resolve", {"notes": "done"}, str(uuid4()))
            await script.until("incidentStateChanges", incidentId=id_, newState="RESOLVED")
            await made.runs("gateway")
        assert not [said for said in script.heard if said[0] == "error"]


async def test_graphql_ws_by_itself_hears_what_its_filter_means(made: Product, packages: Path) -> None:
    url = f"ws://127.0.0.1:{made.ports['SERVER__HTTP_PORT']}/graphql/ws"
    async with running("graphql_ws.mjs", packages, url) as script:
        await script.until("connected")
        async with asyncio.timeout(40):
            while not [said for said in script.heard if said[0] == "incidentUpdated"]:
                await reported(made, severity="P3", environment="production")
                await reported(made, severity="P1", environment="staging")
                await reported(made, severity="P1", environment="production", title=f"wanted {uuid4()}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await script.until("incidentUpdated", updateType="CREATED")
        titles = [data["incident"]["title"] for what, data in script.heard if what == "incidentUpdated"]
        assert titles
        assert all(title.startswith("wanted") for title in titles)
