"""A post that nobody understands is an alert, too: its sender will hardly send it again."""

import re
from collections.abc import Iterator
from itertools import islice

from app.domain.alert import Alert
from app.domain.errors import Invalid
from app.domain.vocabulary import Severity
from app.sources.base import Post, canonical

SHOWN = 100
NAME = re.compile(r"[\w$@:/.-]{1,60}")
OUT = "(a name)"


def unreadable(name: str, post: Post, why: Invalid) -> Alert:
    """A P4 that says what was wrong and what the body was made of; not its texts, which may be anybody's."""
    try:
        made_of = "\n".join(islice(outline(post.json), SHOWN))
    except Invalid:
        made_of = f"{len(post.body):,} bytes that are no JSON"
    return canonical(
        name, f"{name} sent something that could not be read", "unreadable",
        incident_class="observability.blind_spot", severity=Severity.P4,
        description=f"{why.message}\n\nIt was made of:\n{made_of}",
    )  # fmt: skip


def outline(value: object, path: str = "") -> Iterator[str]:
    """Where there is what: a line for each place in a JSON value, with its kind, and with numbers and yes or no.

    A name that is none, but a sentence, may be anybody's, too.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            shown = name if NAME.fullmatch(str(name)) else OUT
            yield from outline(inner, f"{path}.{shown}" if path else shown)
    elif isinstance(value, list):
        yield f"{path or 'body'}: {len(value)} items"
        if value:
            yield from outline(value[0], f"{path}[0]")
    elif isinstance(value, str):
        yield f"{path or 'body'}: text of {len(value)} characters"
    else:
        yield f"{path or 'body'}: {value}"
