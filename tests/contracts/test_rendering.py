"""Templates: what they may say, what they may not do, and that alert text is never one."""

from html import escape
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.rendering import Unsayable, render, rendered
from app.domain.decode import decode
from app.domain.notification import Bundled
from app.domain.template import Template
from app.domain.vocabulary import ChannelName
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
        ("one\ntwo {{ incident.titel }}", "line 2: there is no 'titel' here; there is title, tags"),
        ("{{ incdent.title }}", "'incdent' is undefined; there is incident, message, bundled and variables"),
        ("one\n{{ incident.title", "line 2"),
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
        ("{{ 'x' | tojson(1000000000) }}", "argument"),
        ("{{ 5 | round(1000000000, 'ceil') }}", "argument"),
        ("{{ 5.5 | round(1) | truncate(1) }}", "expected length"),
        ("{% if 1 %}" * 101 + "{% endif %}" * 101, "nested too deeply"),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "nested too deeply"),
        ("{% for a in incident.big %}{% for b in incident.big %}{% endfor %}{% endfor %}", "too much work"),
        ("{% for a in incident.big %}{{ '' if 'ab' in incident.big }}{% endfor %}", "too much work"),
        ("{{ (" + "~".join(["incident.big"] * 600) + ") | length }}", "too much work"),
        ("{{ (" + "+".join(["incident.big"] * 60) + ") | length }}", "too much work"),
        ("{{ incident.big" + " | upper | lower" * 5 + " | length }}", "too much work"),
        ("{% for a in incident.big[:9] %}{{ incident.big | list | join('-') | length }}{% endfor %}", "too much work"),
        ("{% with a = 1 %}{{ a }}{% endwith %}", "with"),
        ("{% filter upper %}x{% endfilter %}", "filterblock"),
        ("{% for a in incident.title %}{{ incident.big }}{% endfor %}", "more than"),
    ],
)
def test_what_is_wrong_is_named_with_its_field_and_what_is_dangerous_is_not_there(source: str, problem: str) -> None:
    began = process_time()
    with pytest.raises(Unsayable) as no:
        said(source, big="x" * 60_000)
    assert process_time() - began < 1
    assert no.value.field == "channels.email.text"
    assert problem in no.value.problem


def test_a_broken_template_loses_no_page() -> None:
    broken = template("{{ incident.nope }}")
    message, problem = rendered([broken], PAGE, EMAIL, None)
    assert message == PAGE
    assert problem is not None
    assert "nope" in problem
    assert rendered([broken], PAGE, ChannelName.SMS, None) == (PAGE, None)


def test_rounding_and_loops_in_loops_are_harmless_within_their_bounds() -> None:
    assert said("{{ 1.256 | round(2) }} {{ 5 | round(-1000000000) }}") == "1.26 0.0"
    thrice = (
        "{% for a in 'ab' %}{% for b in 'ab' %}{% for c in 'ab' %}.{% endfor %}{% endfor %}{{ loop.last }}{% endfor %}"
    )
    assert said(thrice) == "....False....True"


def test_a_field_that_comes_out_empty_is_as_if_it_were_not_there() -> None:
    assert said("{% if incident.title == 'fast' %}fast{% endif %}\n") is None


def payload(source: str, **incident: object) -> dict[str, object] | None:
    made = template(channels={"webhook": {"payload": source}})
    return render(made, PAGE.model_copy(update={"incident": incident}), ChannelName.WEBHOOK).payload


def test_a_payload_is_a_json_object() -> None:
    source = '{"text": {{ incident.title | tojson }}, "n": {{ incident.n }}, "who": {{ incident.who }}}'
    assert payload(source, title='"}', n=3, who=None) == {"text": '"}', "n": 3, "who": None}
    assert payload('{"text": "{{ incident.title }} on {{ incident.on ~ 1 }}"}', title='"', on="\\") == {
        "text": '" on \\1'
    }
    assert payload('{"text": "\\ud800"}') == {"text": "?"}


@pytest.mark.parametrize("title", ["[1]", "{", "nothing", '{"a": NaN}', '{"a": 1e999}', "[" * 60_000, '{"a":' * 40])
def test_what_is_no_json_object_is_not_sent(title: str) -> None:
    end = "}" * 40 if title.startswith('{"a":{') else ""
    made = template(channels={"webhook": {"payload": f"{title[:9000]}{end and '1' + end}"}})
    message, problem = rendered([made], PAGE, ChannelName.WEBHOOK, None)
    assert message == PAGE
    assert problem is not None
    assert "template 't', channels.webhook.payload" in problem


ANYTHING = st.lists(
    st.text(st.characters(exclude_categories=()))
    | st.sampled_from(
        [
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "{{ 7 * 7 }}",
            "{% raw %}",
            "<script>",
            "&",
            '"',
            "'",
            "\\",
            "\\u0022",
            "\x00",
        ]
    ),
    max_size=20,
).map("".join)


@given(title=ANYTHING)
def test_alert_text_stands_there_as_text_and_nothing_else(title: str) -> None:
    message = PAGE.model_copy(update={"incident": {"title": title}, "title": title, "body": title})
    wording = {
        "subject": "{{ message.title }}.",
        "text": "<{{ incident.title }}>{{ message.body ~ '' }}",
        "html": "<b>{{ incident.title }}</b>{{ '<' ~ message.body }}",
        "payload": '{"a": "{{ incident.title }}", "b": {{ message.body | tojson }}}',
    }
    made, problem = rendered([template(channels={"email": wording})], message, EMAIL, None)
    clean = title.encode("utf-8", "replace").decode()
    escaped = escape(clean).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    assert problem is None
    assert made.subject == f"{clean}."
    assert made.text == f"<{clean}>{clean}"
    assert made.html == f"<b>{escaped}</b>&lt;{escaped}"
    assert made.payload == {"a": clean, "b": clean}


@given(body=ANYTHING)
def test_no_alert_text_loses_a_message_not_even_where_a_template_forgot_to_quote_it(body: str) -> None:
    message = PAGE.model_copy(update={"incident": {"body": body}})
    wording = {"webhook": {"payload": '{"a": {{ incident.body }}, "b": 1}'}}
    made, problem = rendered([template(channels=wording)], message, ChannelName.WEBHOOK, None)
    assert (made == message) == (problem is not None)
    assert made.payload is None or made.payload.keys() == {"a", "b"}
