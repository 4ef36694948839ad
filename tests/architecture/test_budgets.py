"""How long files and functions may be, on the tail."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXEMPT = ("app/store/tables.py", "app/api/grpc/pb/", "app/integrations/pb/")
Sizes = dict[str, int]


def sources() -> Iterator[tuple[str, str]]:
    for folder in ("app", "workflows", "activities", "workers", "clients", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(EXEMPT):
                yield name, path.read_text()


def functions(name: str, source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def over(sizes: Sizes, usual: int, hard: int) -> list[str]:
    """What breaks the budget, longest first: nine in ten stay within `usual`, all within `hard`."""
    longest = sorted(sizes, key=lambda name: -sizes[name])
    p90 = sorted(sizes.values())[len(sizes) * 9 // 10 - 1]
    return [f"{name}: {sizes[name]}" for name in longest if sizes[name] > (usual if p90 > usual else hard)]


def test_files_are_short() -> None:
    assert over({name: len(source.splitlines()) for name, source in sources()}, usual=300, hard=500) == []


def test_functions_are_short() -> None:
    assert over(dict(size for source in sources() for size in functions(*source)), usual=35, hard=60) == []


@pytest.mark.parametrize(
    ("sizes", "too_long"),
    [([10] * 9 + [60], []), ([10] * 9 + [61], ["9: 61"]), ([10] * 8 + [36, 37], ["9: 37", "8: 36"])],
)
def test_a_budget_can_be_broken(sizes: list[int], too_long: list[str]) -> None:
    assert over({str(name): size for name, size in enumerate(sizes)}, usual=35, hard=60) == too_long
