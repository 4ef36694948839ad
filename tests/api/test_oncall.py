"""On-call over REST: who is on duty, what is coming, a quick swap, calendars out and in."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import icalendar
import pytest

from app.domain.vocabulary import Role
from tests.api.test_rest import refusal
from tests.support.house import a_house

ANN, BEN = "Ann Example", "Ben Example"
CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\nX-WR-CALNAME:Team\r\n{}END:VCALENDAR\r\n"


def event(*lines: str, summary: str = ANN) -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uuid4()}", f"SUMMARY:{summary}", *lines, "END:VEVENT", ""])


async def put(api: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    answer = await api.put(f"/api/v1/{path}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture
async def people(api: httpx.AsyncClient) -> None:
    await put(api, "users/ann", {"name": ANN, "email": "ann@example.com"})
    await put(api, "users/ben", {"name": BEN, "email": "ben@example.com"})


@pytest.fixture
async def schedule(api: httpx.AsyncClient, people: None) -> str:
    """Ann and Ben by turns, a day each, handed off at 09:00 in New York."""
    id_ = f"s-{uuid4()}"
    layer = {"name": "primary", "users": ["ann", "ben"], "rotation": "daily", "start_date": "2026-01-01"}
    await put(api, f"schedules/{id_}", {"name": "Payments", "timezone": "America/New_York", "layers": [layer]})
    return id_


async def preview(api: httpx.AsyncClient, schedule: str, start: str, end: str) -> list[tuple[str, str]]:
    answer = await api.get(f"/api/v1/schedules/{schedule}/preview", params={"from": start, "to": end})
    assert answer.status_code == 200, answer.text
    return [(segment["start"], " ".join(segment["users"])) for segment in answer.json()["segments"]]


async def imported(api: httpx.AsyncClient, schedule: str, *events: str, **query: Any) -> httpx.Response:
    body = CALENDAR.format("".join(events))
    headers = {"content-type": "text/calendar"}
    return await api.post(f"/api/v1/schedules/{schedule}/import", content=body, params=query, headers=headers)


async def test_now_says_who_since_until_and_who_is_next(api: httpx.AsyncClient, schedule: str) -> None:
    answer = await api.get("/v1/oncall/now", params={"at": "2026-03-08T12:59:59Z"})
    [now] = [one for one in answer.json() if one["schedule_id"] == schedule]
    assert now["people"] == [{"id": "ben", "name": BEN, "known": True}]
    assert (now["since"], now["until"], now["gap"]) == ("2026-03-07T14:00:00Z", "2026-03-08T13:00:00Z", False)
    assert now["next"] == {
        "start": "2026-03-08T13:00:00Z", "end": "2026-03-09T13:00:00Z",
        "people": [{"id": "ann", "name": ANN, "known": True}],
    }  # fmt: skip
    assert {"people", "next"} <= (await api.get("/api/v1/oncall/now")).json()[0].keys()


async def test_somebody_who_left_is_marked_and_a_gap_is_said(api: httpx.AsyncClient, people: None) -> None:
    left, id_ = f"u-{uuid4()}", f"s-{uuid4()}"
    await put(api, f"users/{left}", {"name": "Left"})
    layer = {"name": "l", "users": [left], "start_date": "2026-01-01", "until": "2026-02-01"}
    await put(api, f"schedules/{id_}", {"name": "Old", "layers": [layer]})
    await put(api, f"users/{left}", {"name": "Left", "active": False})

    async def now(at: str) -> dict[str, Any]:
        found = (await api.get("/api/v1/oncall/now", params={"at": at})).json()
        return next(dict(one) for one in found if one["schedule_id"] == id_)

    assert (await now("2026-01-15T00:00:00Z"))["people"] == [{"id": left, "name": "Left", "known": False}]
    before = await now("2025-12-25T00:00:00Z")
    assert (before["gap"], before["people"], before["since"]) == (True, [], None)
    assert before["next"]["start"] == before["until"] == "2026-01-01T09:00:00Z"
    after = await now("2026-03-01T00:00:00Z")
    assert (after["gap"], after["since"], after["until"], after["next"]) == (True, "2026-02-01T09:00:00Z", None, None)


async def test_a_preview_marks_gaps_and_reaches_two_weeks_unless_told(api: httpx.AsyncClient, schedule: str) -> None:
    out = {"start": "2026-03-10T00:00:00Z", "end": "2026-03-10T06:00:00Z", "user": "ben", "kind": "remove"}
    assert (await api.post(f"/api/v1/schedules/{schedule}/overrides", json=out)).status_code == 201
    between = {"from": "2026-03-09T20:00:00-04:00", "to": "2026-03-10T12:00:00Z"}
    told = (await api.get(f"/api/v1/schedules/{schedule}/preview", params=between)).json()
    assert told["gaps"] == 1
    assert [(one["start"], one["users"], one["gap"], one["source"]) for one in told["segments"]] == [
        ("2026-03-10T00:00:00Z", [], True, "override"), ("2026-03-10T06:00:00Z", ["ben"], False, "layer"),
    ]  # fmt: skip
    usual = (await api.get(f"/api/v1/schedules/{schedule}/preview")).json()
    start, end = datetime.fromisoformat(usual["start"]), datetime.fromisoformat(usual["end"])
    assert end - start == timedelta(days=14)
    assert abs(start - datetime.now(UTC)) < timedelta(minutes=1)
    assert len(usual["segments"]) == 15


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"), ("from=2026-01-01T00:00:00", "from"), ("to=2026-01-01", "to"),
        ("from=9999-12-31T23:59:59Z", "from"), ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("from=2026-01-01T00:00:00Z&to=2027-12-01T00:00:00Z", "to"), ("form=x", "form"), ("from=%00", "from"),
    ],
)  # fmt: skip
async def test_a_preview_of_no_time_is_refused_by_the_field(
    api: httpx.AsyncClient, schedule: str, query: str, field: str
) -> None:
    body = refusal(await api.get(f"/api/v1/schedules/{schedule}/preview?{query}"), 400, "VALIDATION_ERROR")
    assert body["error"]["details"][0]["field"] == field


async def test_what_is_not_there_is_not_found(api: httpx.AsyncClient, schedule: str) -> None:
    for path in ("preview", "calendar.ics"):
        refusal(await api.get(f"/api/v1/schedules/nobody/{path}"), 404, "NOT_FOUND")
    refusal(await api.get(f"/api/v1/schedules/{schedule}/calendar.ics?user=nobody"), 404, "NOT_FOUND")
    refusal(await imported(api, "nobody", event("DTSTART:20261123T090000")), 404, "NOT_FOUND")
    refusal(await api.delete(f"/api/v1/schedules/{schedule}/overrides/none"), 404, "NOT_FOUND")
    refusal(await api.get("/api/v1/oncall/now?at=noon"), 400, "VALIDATION_ERROR")


async def test_an_override_swaps_somebody_at_once_and_can_be_taken_back(api: httpx.AsyncClient, schedule: str) -> None:
    overrides = f"/api/v1/schedules/{schedule}/overrides"
    body = {"start": "2026-03-10T00:00:00Z", "end": "2026-03-10T06:00:00Z", "user": "ann", "reason": "dentist"}
    added = await api.post(overrides, json=body)
    assert (added.status_code, added.headers["etag"]) == (201, '"2"')
    assert added.json()["kind"] == "replace"
    asked = ("2026-03-10T00:00:00Z", "2026-03-10T08:00:00Z")
    assert await preview(api, schedule, *asked) == [("2026-03-10T00:00:00Z", "ann"), ("2026-03-10T06:00:00Z", "ben")]
    refusal(await api.post(overrides, json=body), 409, "CONFLICT")

    dropped = await api.delete(f"{overrides}/{added.json()['id']}")
    assert (dropped.status_code, dropped.headers["etag"]) == (204, '"3"')
    assert await preview(api, schedule, *asked) == [("2026-03-10T00:00:00Z", "ben")]
    versions = (await api.get(f"/api/v1/schedules/{schedule}/versions")).json()
    assert [len(version["overrides"]) for version in versions] == [0, 1, 0]


async def test_overrides_made_at_the_same_moment_are_all_kept_but_a_named_version_is_not_overrun(
    api: httpx.AsyncClient, schedule: str
) -> None:
    def body(n: int) -> dict[str, Any]:
        return {"start": f"2026-03-{n:02}T00:00:00Z", "end": f"2026-03-{n:02}T06:00:00Z", "user": "ann"}

    overrides = f"/api/v1/schedules/{schedule}/overrides"
    answers = await asyncio.gather(*(api.post(overrides, json=body(n)) for n in range(1, 5)))
    assert [answer.status_code for answer in answers] == [201] * 4
    found = (await api.get(f"/api/v1/schedules/{schedule}")).json()
    assert len(found["overrides"]) == 4
    stale = {"if-match": f'"{found["version"] - 1}"'}
    refusal(await api.post(overrides, json=body(9), headers=stale), 409, "CONFLICT")
    refusal(await api.delete(f"{overrides}/{found['overrides'][0]['id']}", headers=stale), 409, "CONFLICT")
    assert (await api.get(f"/api/v1/schedules/{schedule}")).json() == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "start"), ({"user": "nobody"}, "user"), ({"kind": "swap"}, "kind"), ({"replaces": "nobody"}, "replaces"),
        ({"end": "2026-03-01T00:00:00Z"}, "body"), ({"usr": "ann"}, "usr"), ({"id": "no good"}, "id"),
    ],
)  # fmt: skip
async def test_an_override_that_makes_no_sense_changes_nothing(
    api: httpx.AsyncClient, schedule: str, body: dict[str, Any], field: str
) -> None:
    sound = {"start": "2026-03-10T00:00:00Z", "end": "2026-03-10T06:00:00Z", "user": "ann"}
    refused = await api.post(f"/api/v1/schedules/{schedule}/overrides", json=sound | body if body else body)
    assert field in [one["field"] for one in refusal(refused, 400, "VALIDATION_ERROR")["error"]["details"]]
    assert (await api.get(f"/api/v1/schedules/{schedule}")).json()["version"] == 1


async def test_a_schedule_names_people_who_are_there_and_keeps_them_there(
    api: httpx.AsyncClient, schedule: str
) -> None:
    layer = {"name": "l", "users": ["ann", "ghost"], "start_date": "2026-01-01"}
    answer = await api.put("/api/v1/schedules/x", json={"name": "X", "layers": [layer]})
    details = refusal(answer, 400, "VALIDATION_ERROR")["error"]["details"]
    assert details == [{"field": "layers[0].users[1]", "message": "there is no user 'ghost'"}]
    refusal(await api.delete("/api/v1/users/ann"), 409, "CONFLICT")


async def test_a_calendar_to_subscribe_to_has_everybodys_duties_under_names_that_stay(
    api: httpx.AsyncClient, schedule: str
) -> None:
    async def subscribed(**query: str) -> list[icalendar.Event]:
        answer = await api.get(f"/v1/schedules/{schedule}/calendar.ics", params=query)
        assert answer.headers["content-type"].startswith("text/calendar")
        calendar = icalendar.Calendar.from_ical(answer.text)
        assert str(calendar["X-WR-CALNAME"]) == "Payments"
        return list(calendar.events)

    everybodys, anns = await subscribed(), await subscribed(user="ann")
    assert {str(one["SUMMARY"]) for one in everybodys} == {ANN, BEN}
    assert [str(one["ATTENDEE"]) for one in anns] == ["mailto:ann@example.com"] * len(anns)
    assert {str(one["UID"]) for one in anns} < {str(one["UID"]) for one in everybodys}
    assert [str(one["UID"]) for one in await subscribed(user="ann")] == [str(one["UID"]) for one in anns]
    assert len({str(one["UID"]) for one in everybodys}) == len(everybodys) >= 180
    for one in anns[1:3]:
        assert one.to_ical().count(b"Z\r\n") == 3  # DTSTAMP, DTSTART, DTEND: all UTC
        found = await preview(api, schedule, one.start.isoformat(), one.end.isoformat())
        assert [who for _, who in found] == ["ann"]


async def test_an_imported_calendar_goes_before_the_layers_and_replaces_its_earlier_self(
    api: httpx.AsyncClient, schedule: str
) -> None:
    day = (datetime.now(UTC) + timedelta(days=10)).replace(hour=0, minute=0, second=0, microsecond=0)
    ics = f"{day:%Y%m%d}"
    first = await imported(
        api, schedule, event(f"DTSTART:{ics}T090000Z", "DURATION:PT2H", "RRULE:FREQ=DAILY;COUNT=3", summary="ben")
    )
    assert first.status_code == 200, first.text
    assert first.json() == {"calendar": "Team", "shifts": 3, "replaced": False, "version": 2}
    asked = ((day + timedelta(hours=9)).isoformat(), (day + timedelta(hours=11)).isoformat())
    assert [who for _, who in await preview(api, schedule, *asked)] == ["ben"]

    attending = "ATTENDEE;CN=Somebody:MAILTO:Ann@Example.com"
    again = await imported(
        api, schedule, event(f"DTSTART:{ics}T090000Z", "DURATION:PT2H", attending, summary="on call")
    )
    assert again.json() == {"calendar": "Team", "shifts": 1, "replaced": True, "version": 3}
    assert [who for _, who in await preview(api, schedule, *asked)] == ["ann"]
    [calendar] = (await api.get(f"/api/v1/schedules/{schedule}")).json()["calendars"]
    assert [shift["user"] for shift in calendar["shifts"]] == ["ann"]


async def test_what_was_exported_can_be_imported(api: httpx.AsyncClient, schedule: str) -> None:
    exported = (await api.get(f"/api/v1/schedules/{schedule}/calendar.ics")).content
    copy = f"s-{uuid4()}"
    await put(api, f"schedules/{copy}", {"name": "Copy"})
    answer = await api.post(f"/api/v1/schedules/{copy}/import", content=exported)
    assert answer.status_code == 200, answer.text
    start = datetime.now(UTC) + timedelta(minutes=5)
    asked = (start.isoformat(), (start + timedelta(days=100)).isoformat())
    assert await preview(api, copy, *asked) == await preview(api, schedule, *asked)


async def test_an_import_that_does_not_fit_is_refused_whole_and_says_why(api: httpx.AsyncClient, schedule: str) -> None:
    soon = f"DTSTART:{datetime.now(UTC) + timedelta(days=3):%Y%m%dT%H%M%SZ}"
    strangers = await imported(
        api, schedule, event(soon, "DURATION:PT1H"), event(soon, "DURATION:PT1H", summary="Mallory"),
        event(soon, "DURATION:PT1H", "ATTENDEE:mailto:eve@example.com", summary="Eve"), event(soon, summary=BEN),
    )  # fmt: skip
    details = refusal(strangers, 400, "VALIDATION_ERROR")["error"]["details"]
    assert {one["field"].partition(" of ")[0] for one in details} == {
        "event 'Mallory'", "event 'Eve'", f"event '{BEN}'",
    }  # fmt: skip
    for content in (b"", b"hello", b"\xff\xfe", b"BEGIN:VCALENDAR\r\n", b"\0", b"{}"):
        answer = await api.post(f"/api/v1/schedules/{schedule}/import", content=content)
        assert refusal(answer, 400, "VALIDATION_ERROR")["error"]["details"][0]["field"] == "body"
    nothing = await imported(api, schedule, event("DTSTART:20200101T000000Z", "DURATION:PT1H"))
    assert "no event" in refusal(nothing, 400, "VALIDATION_ERROR")["message"]
    assert "days" in refusal(await imported(api, schedule, days=0), 400, "VALIDATION_ERROR")["message"]
    huge = await api.post(f"/api/v1/schedules/{schedule}/import", content=b"x" * 1_048_577)
    refusal(huge, 413, "PAYLOAD_TOO_LARGE")
    assert (await api.get(f"/api/v1/schedules/{schedule}")).json()["version"] == 1


@pytest.mark.parametrize(("role", "reads", "swaps", "imports"), [
    (Role.INGEST, 403, 403, 403), (Role.VIEWER, 200, 403, 403), (Role.RESPONDER, 200, 201, 403),
    (Role.ADMIN, 200, 201, 400),
])  # fmt: skip
async def test_a_responder_may_swap_a_shift_but_not_rewrite_the_schedule(
    database_url: str, role: Role, reads: int, swaps: int, imports: int
) -> None:
    async with a_house(database_url) as house:
        async with house.visitor() as owner:
            await put(owner, "users/u", {"name": "U"})
            await put(owner, "schedules/s", {"name": "S"})
        key = await house.keys.create("somebody", role)
        async with house.visitor() as stranger:
            refusal(await stranger.get("/api/v1/oncall/now"), 401, "AUTHENTICATION_ERROR")
        body = {"start": "2026-03-10T00:00:00Z", "end": "2026-03-10T06:00:00Z", "user": "u", "id": "swap"}
        async with house.visitor(key) as visitor:
            paths = ("oncall/now", "schedules/s/preview", "schedules/s/calendar.ics")
            assert [(await visitor.get(f"/api/v1/{path}")).status_code for path in paths] == [reads] * 3
            assert (await visitor.post("/api/v1/schedules/s/overrides", json=body)).status_code == swaps
            dropped = await visitor.delete("/api/v1/schedules/s/overrides/swap")
            assert dropped.status_code == (204 if swaps == 201 else 403)
            assert (await visitor.post("/api/v1/schedules/s/import", content=b"x")).status_code == imports
