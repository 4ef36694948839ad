"""LiteLLM's proxy: three formats under one name, told apart by their shape.

`alerting: ["webhook"]` posts budgets as JSON, `alerting: ["slack"]` everything else as text, and the callback
`generic_api` what became of each call. It signs nothing, takes 200 alone for delivered and never tries again.
Sources: litellm/integrations/SlackAlerting and litellm/integrations/generic_api.
"""

from hashlib import sha256

from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.sources import litellm_budgets, litellm_logs, litellm_text
from app.sources.base import Post, Source
from app.sources.strict_json import tolerant_json

LINES_MAX = 100_000
"""A row of the log has some hundred bytes: fewer fit into a post."""


def read(post: Post) -> Inbound:
    """Raises: Invalid.

    Rows of calls hold their calls' ids and times, so that the same bytes are the same calls, sent again: that is their
    `delivery`. Equal texts or budgets are two things that happened: LiteLLM sends none of those twice.
    """
    said = _parsed(post)
    text = _text(said)
    if text is not None:
        return litellm_text.read(text)
    if isinstance(said, dict) and isinstance(said.get("event"), str):
        return litellm_budgets.read(said, post)
    rows = [row for row in (said if isinstance(said, list) else [said]) if litellm_logs.is_call(row)]
    if not rows:
        raise Invalid.field("body", "must be a budget event, an alert's text, or rows of calls")
    return Inbound(
        samples=tuple(sample for row in rows for sample in litellm_logs.samples(row, post.at)),
        delivery=sha256(post.body).hexdigest(),
    )


def _parsed(post: Post) -> object:
    """The body as JSON, or as one value for each of its lines (`log_format: ndjson`). Raises: Invalid."""
    try:
        value: object = post.json
    except Invalid:
        lines = [line for line in post.body.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        if len(lines) > LINES_MAX:
            raise Invalid.field("body", f"must not have more than {LINES_MAX:,} lines") from None
        return [tolerant_json(line) for line in lines]
    return value


def _text(said: object) -> str | None:
    """The text of an alert in Slack's form, or in the card that is made of it for Microsoft Teams."""
    if not isinstance(said, dict):
        return None
    text = said.get("text")
    match said.get("attachments"):
        case [{"content": {"body": [{"text": inner}, *_]}}, *_] if text is None:
            text = inner
    return text if isinstance(text, str) and text.strip() else None


SAYS = Source(read)
