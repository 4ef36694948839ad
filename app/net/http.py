"""The one way out (being written)."""

from collections.abc import Sequence


def allowed_networks(setting: object, host: str) -> list[object]:
    return []


def check_url(url: str, allow_networks: Sequence[object]) -> None:
    return None
