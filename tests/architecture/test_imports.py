"""What may know what: the contracts in pyproject.toml, and that they say something about everything."""

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).resolve().parents[2]
LOADED = "import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"


def contracts() -> dict[str, dict[str, list[str]]]:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return {contract["id"]: contract for contract in linter["contracts"]}


def test_every_part_of_the_house_has_its_floor() -> None:
    named = {module.strip() for layer in contracts()["inward"]["layers"] for module in layer.split("|")}
    parts = {f"app.{part.name}" for part in pkgutil.iter_modules(app.__path__)}
    assert named == parts | {"workflows", "activities", "workers"}


@pytest.mark.parametrize("module", ["workflows.incident", "app.domain.lifecycle", "activities.sending"])
def test_what_the_sandbox_shares_is_light(module: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert module.split(".")[0] in loaded
    assert not loaded & set(contracts()["light"]["forbidden_modules"])
