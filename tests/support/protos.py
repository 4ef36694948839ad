"""The Python of proto/: `python -m tests.support.protos` writes it, `--check` says whether it is of today."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "proto"
GENERATED = "app/api/grpc/pb"
CALLED = {"integrations.proto": "app/integrations/pb"}
"""Whose client we are: their Python lies with the clients."""


def generate(into: Path) -> None:
    """Writes modules and stubs under `into`. Raises: CalledProcessError when a .proto is none."""
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    _compile(into, GENERATED, [name for name in names if name not in CALLED])
    for name, folder in CALLED.items():
        _compile(into, folder, [name])


def _compile(into: Path, folder: str, names: Sequence[str]) -> None:
    kinds = [f"--{kind}_out={into}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # Read as lying where its Python goes, so that one generated module finds the other.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}=proto", *kinds]
    command += [f"{folder}/{name}" for name in names]
    subprocess.run(command, cwd=ROOT, env=plugins, check=True, capture_output=True)


def stale() -> list[str]:
    """Generated files that are missing, left over, or say something else than proto/ does."""
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name))
        wanted, there = _files(Path(name)), _files(ROOT)
    return sorted(file for file in wanted | there if wanted.get(file) != there.get(file))


def _files(under: Path) -> dict[str, bytes]:
    found = [path for folder in (GENERATED, *CALLED.values()) for path in (under / folder).rglob("*_pb2*.py*")]
    return {str(path.relative_to(under)): path.read_bytes() for path in found if path.suffix != ".pyc"}


if __name__ == "__main__":
    if "--check" not in sys.argv:
        generate(ROOT)
    elif old := stale():
        sys.exit(f"run `make proto`, these are not of today: {', '.join(old)}")
