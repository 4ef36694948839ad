"""Templates: what they may say, what they may not do, and that alert text is never one."""

import json
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.rendering import Unsayable, render, rendered
from app.domain.decode import decode
from app.domain.notification import Bundled, Message
from app.domain.template import Subject, Template, choose
from app.domain.vocabulary import ChannelName, MessageKind, Severity
from tests.support.pages import PAGE

EMAIL = ChannelName.EMAIL


def template(text: str = "", id: str = "t", **more: Any) -> Template:  # noqa: A002
    wording = {"text": text or "{{ incident.title }}"}
    return decode(Template, {"id": id, "name": id, "type": "created", "channels": {"email": wording}} | more)


def said(text: str, **incident: object) -> str | None:
    message = PAGE.model_copy(update={"incident": {"title": "slow", "tags": {"service": "gw"}} | incident})
    return render(template(text), message, EMAIL).text


def test_a_template_says_what_it_is_told_to() -> None:
    assert said("[{{ message.severity }}] {{ incident.title | upper }} {{ incident.tags.service }}") == "[P1] SLOW gw"
    assert said("{{ incident.tags.team | default('nobody') }}") == "nobody"
    assert said("{% for k, v in incident.tags | items %}{{ k }}={{ v }}{% endfor %}") == "service=gw"
    assert said("{% if incident.title %}yes{% else %}no{% endif %}") == "yes"


def test_a_bundle_is_within_reach() -> None:
    others = tuple(Bundled(incident_id=str(n), title=f"t{n}", severity="P2") for n in range(3))
    message = PAGE.model_copy(update={"bundled": others})
    text = render(template("{{ bundled | length }}: {% for b in bundled %}{{ b.title }} {% endfor %}"), message, EMAIL)
    assert text.text == "3: t0 t1 t2 "


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ incident.nope }}", "nope"),
        ("line one\n{{ incident.title", "line 2"),
        ("{% set x = 1 %}", "assign"),
        ("{% macro a() %}{% endmacro %}", "macro"),
        ("{% include 'x' %}", "include"),
        ("{% import 'x' as x %}", "import"),
        ("{{ 'x' * 1000000000 }}", "mul"),
        ("{{ 2 ** 1000000000 }}", "pow"),
        ("{{ '%1000000000d' % 1 }}", "mod"),
        ("{{ 'x'.ljust(1000000000) }}", "call"),
        ("{{ range(1000000000) }}", "call"),
        ("{{ 'x' | center(1000000000) }}", "no filter"),
        ("{{ 'x' | replace('x', 'y') }}", "no filter"),
        ("{{ incident.__class__.__mro__ }}", "__class__"),
        ("{{ self }}", "self"),
        (
            "{% for a in 'ab' %}{% for b in 'ab' %}{% for c in 'ab' %}.{% endfor %}{% endfor %}{% endfor %}",
            "third loop",
        ),
        ("{% with a = 1 %}{{ a }}{% endwith %}", "with"),
        ("{% filter upper %}x{% endfilter %}", "filterblock"),
        ("{% for a in incident.title %}{{ incident.big }}{% endfor %}", "more than"),
    ],
)
def test_what_is_wrong_is_named_with_its_field_and_what_is_dangerous_is_not_there(source: str, problem: str) -> None:
    with pytest.raises(Unsayable) as no:
        said(source, big="x" * 60_000)
    assert no.value.field == "channels.email.text"
    assert problem in no.value.problem


def test_a_broken_template_loses_no_page() -> None:
    broken = template("{{ incident.nope }}")
    message, problem = rendered([broken], PAGE, EMAIL, None)
    assert message == PAGE
    assert problem is not None
    assert "nope" in problem
    assert rendered([broken], PAGE, ChannelName.SMS, None) == (PAGE, None)


def test_a_payload_is_a_json_object() -> None:
    source = '{"text": {{ incident.title | tojson }}, "n": 1}'
    wording = {"webhook": {"payload": source}}
    made = render(
        template(channels=wording), PAGE.model_copy(update={"incident": {"title": '"}'}}), ChannelName.WEBHOOK
    )
    assert made.payload == {"text": '"}', "n": 1}
    for wrong in ("[1]", "{", "nothing"):
        with pytest.raises(Unsayable, match="payload"):
            render(template(channels={"webhook": {"payload": wrong}}), PAGE, ChannelName.WEBHOOK)


@given(title=st.text(max_size=200))
def test_alert_text_stands_there_as_text_and_nothing_else(title: str) -> None:
    message = PAGE.model_copy(update={"incident": {"title": title}, "title": title})
    wording = {"text": "<{{ incident.title }}>", "html": "<b>{{ incident.title }}</b>"}
    made = render(template(channels={"email": wording}), message, EMAIL)
    clean = title.encode("utf-8", "replace").decode()
    assert made.text == f"<{clean}>"
    assert made.html is not None
    inner = made.html.removeprefix("<b>").removesuffix("</b>")
    assert "<" not in inner
    assert ">" not in inner
    assert inner == escape(clean).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    json.dumps(made.text)


def page(kind: MessageKind = MessageKind.CREATED) -> Message:
    return PAGE.model_copy(update={"kind": kind})


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
