"""No clock, no chance and no environment where decisions are made; everywhere else they are allowed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECIDES = ("app/domain/snippet.py", "workflows/snippet.py")
ACTS = ("app/service/snippet.py", "activities/snippet.py", "app/domainless.py", "tests/domain/snippet.py")
IMPURE = (
    "from datetime import datetime\n\nprint(datetime.now())\n",
    "import datetime\n\nprint(datetime.datetime.utcnow())\n",
    "import datetime\n\nprint(datetime.date.today())\n",
    "import time\n\nprint(time.time())\n",
    "from time import monotonic\n\nprint(monotonic())\n",
    "import random\n\nprint(random.random())\n",
    "from uuid import uuid4\n\nprint(uuid4())\n",
    "from uuid_utils.compat import uuid7\n\nprint(uuid7())\n",
    "import secrets\n\nprint(secrets.token_hex())\n",
    "import os\n\nprint(os.environ)\n",
    "from os import getenv\n\nprint(getenv('HOME'))\n",
    "import asyncio\n\nprint(asyncio.wait)\n",
)
PURE = "from datetime import datetime, time\nfrom uuid import UUID\n\nprint(datetime, time, UUID)\n"


def banned(path: str, code: str) -> bool:
    """Whether ruff, with the rules of this repository, refuses the code at that place."""
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--select", "TID251"]
    command = [*ruff, "--output-format", "json", "--stdin-filename", path, "-"]
    run = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    return any(problem["code"] == "TID251" for problem in json.loads(run.stdout))


@pytest.mark.parametrize("code", IMPURE)
def test_what_differs_at_replay_is_refused_where_decisions_are_made(code: str) -> None:
    assert [path for path in DECIDES + ACTS if banned(path, code)] == list(DECIDES)


def test_values_of_time_are_not() -> None:
    assert not any(banned(path, PURE) for path in DECIDES)
