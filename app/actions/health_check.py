"""Asks an address until it is well, so many times in a row."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from app.actions.api import sent
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.domain.people import WebAddress
from app.domain.record import Record
from app.net.http import Http

Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]


@dataclass(frozen=True)
class HealthCheck(Plain):
    """It only asks (GET): twice is harmless.

    `url`: what is asked. `expect`: the statuses that are well, none = any 2xx; `contains`: what the answer's text has.
    `times`: how often in a row, 1 to 100; `every_secs`: the time between two, 0.05 to 60; `within_secs`: after that
    it has failed, 1 to 600.
    """

    http: Http

    class Parameters(Record):
        url: WebAddress
        expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field((), max_length=20)
        contains: Words | None = None
        times: int = Field(3, ge=1, le=100)
        every_secs: float = Field(5, ge=0.05, le=60)
        within_secs: float = Field(60, ge=1, le=600)

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.http.named(None))

    async def check(self, asked: Parameters, at: Situation) -> str:
        now = await self.ailing(asked) or "well"
        return f"GET {asked.url} until it is well {asked.times} times in a row; at present: {now}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        well, why = 0, "no answer yet"
        try:
            async with asyncio.timeout(asked.within_secs):
                while True:
                    wrong = await self.ailing(asked)
                    well, why = (0, wrong) if wrong else (well + 1, f"it was well {well + 1} times")
                    if well == asked.times:
                        return Done(summary=f"{asked.url} is well", output={"times": well})
                    await asyncio.sleep(asked.every_secs)
        except TimeoutError as late:
            wanted = f"{asked.times} times in a row within {asked.within_secs:g} s"
            raise Failed(f"{asked.url} was not well {wanted}: {why}") from late

    async def ailing(self, asked: Parameters) -> str | None:
        """What is wrong, None when it is well. Raises: Failed when the address may never be asked."""
        try:
            answer = await sent(self.http, "GET", asked.url, b"", {})
        except Failed as no:
            if no.retry_after is None:
                raise
            return no.message
        if not (answer.status in asked.expect if asked.expect else 200 <= answer.status < 300):
            return f"it answered {answer.status}"
        if asked.contains and asked.contains not in answer.text:
            return f"its answer is without {asked.contains!r}"
        return None
