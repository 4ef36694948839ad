"""Templates: what one may be, and which of them says a message."""

from typing import Any

import pytest

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.template import Subject, Template, TemplateType, choose
from app.domain.vocabulary import ChannelName, MessageKind, Severity

EMAIL = ChannelName.EMAIL


def template(id: str = "t", **more: Any) -> Template:  # noqa: A002
    return decode(Template, {"id": id, "name": id, "type": "created", "channels": {"email": {"text": "x"}}} | more)


def test_older_names_are_understood() -> None:
    old = template(
        type="incident_created", channels={"email": {"body_text": "t", "body_html": "h"}, "sms": {"message": "m"}}
    )
    assert old.type is TemplateType.CREATED
    assert old.channels[EMAIL].said == {"text": "t", "html": "h"}
    assert old.channels[ChannelName.SMS].said == {"text": "m"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"type": "incident"}, "type"),
        ({"channels": {}}, "channels"),
        ({"channels": {"email": {}}}, "channels.email"),
        ({"channels": {"email": {"text": "x" * 10_001}}}, "channels.email.text"),
        ({"variables": {"a": "x" * 2001}}, "variables.a"),
        ({"variables": {str(n): "" for n in range(51)}}, "variables"),
    ],
)
def test_what_it_may_not_be_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as no:
        template(**change)
    assert no.value.details
    assert where in str(no.value.details)


@pytest.mark.parametrize(
    ("kind", "named", "expected"),
    [
        (MessageKind.CREATED, None, "strong"),
        (MessageKind.CREATED, "named", "named"),
        (MessageKind.CREATED, "gone", "strong"),
        (MessageKind.CREATED, "off", "strong"),
        (MessageKind.RESOLVED, None, "over"),
        (MessageKind.ACKNOWLEDGED, None, "news"),
        (MessageKind.REMINDER, None, "news"),
        (MessageKind.ESCALATED, None, None),
    ],
)
def test_which_template_says_it(kind: MessageKind, named: str | None, expected: str | None) -> None:
    templates = [
        template(id="weak"),
        template(id="strong", priority=5),
        template(id="strong-too", priority=5),
        template(id="elsewhere", priority=9, conditions={"severity": ["P4"]}),
        template(id="tagged", priority=9, conditions={"tags": {"service": "other"}}),
        template(id="off", priority=9, enabled=False),
        template(id="named", type="custom", priority=-5),
        template(id="over", type="resolved"),
        template(id="news", type="incident_updated"),
    ]
    about = Subject(severity=Severity.P1, tags={"service": "gw"})
    chosen = choose(templates, kind, EMAIL, about, named)
    assert (chosen.id if chosen else None) == expected
    assert choose(templates, kind, ChannelName.SLACK, about, named) is None
