"""How we say who we are: an API key, a bearer token, a password, or an OAuth 2 token that is fetched when needed.

Source: RFC 6749 §2.3.1 (our name and secret as Basic authentication), §4.4 (client credentials), §5 (the answer).
"""

import asyncio
import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from pydantic import Field, ValidationError

from app.domain.errors import Invalid
from app.domain.record import Record
from app.integrating import Integration, OAuth2
from app.integrations.trouble import Trouble, line
from app.net.http import SENDABLE, Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

EARLY_SECS = 30.0
"""So long before its end a token is no longer used (chosen: longer than any one question takes by default)."""
USUAL_SECS = 300.0
"""The life of a token whose end isn't told (chosen; RFC 6749 leaves it open)."""


class Given(Record):
    access_token: str = Field(min_length=1)
    expires_in: float = Field(USUAL_SECS, gt=0)


@dataclass
class Token:
    """One token for all who ask; whoever needs it while it is fetched waits for that one."""

    http: Http
    said: OAuth2
    value: str = ""
    good_until: float = 0.0
    under_way: asyncio.Task[str] | None = field(default=None)

    async def get(self) -> str:
        """Raises: Trouble."""
        if self.value and asyncio.get_running_loop().time() < self.good_until:
            return self.value
        if self.under_way is None:
            self.under_way = asyncio.create_task(self._fetched())
            self.under_way.add_done_callback(self._over)
        return await asyncio.shield(self.under_way)

    def refused(self, value: str) -> None:
        """The other side didn't take it: the next one is fetched, unless that has been done since."""
        if value == self.value:
            self.value = ""

    def _over(self, done: asyncio.Task[str]) -> None:
        self.under_way = None
        if not done.cancelled():
            done.exception()

    async def _fetched(self) -> str:
        form = {"grant_type": "client_credentials"}
        if self.said.scopes:
            form["scope"] = " ".join(self.said.scopes)
        name, secret = quote_plus(self.said.client_id), quote_plus(self.said.client_secret.get_secret_value())
        headers = basic(name, secret) | {"content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await sent(self.http, "POST", self.said.token_url, urlencode(form).encode(), headers)
        except Trouble as no:  # of the token server's: nothing was asked of whom the token is for
            raise Trouble(f"the token server: {no.message}", passing=no.passing) from no
        if not 200 <= answer.status < 300:
            ill = answer.status >= 500 or answer.status == 429
            told = line(answer.text, (secret, self.said.client_secret.get_secret_value(), *secrets(headers)))
            raise Trouble(f"the token server answered {answer.status}: {told}", passing=ill)
        try:
            given = Given.model_validate_json(answer.text)
        except ValidationError as wrong:
            raise Trouble("the token server answered without a token") from wrong
        self.value = given.access_token
        life = given.expires_in - min(EARLY_SECS, given.expires_in / 10)
        self.good_until = asyncio.get_running_loop().time() + life
        return self.value


@dataclass(frozen=True)
class Identity:
    """`fixed` are the headers that never change."""

    fixed: dict[str, str]
    token: Token | None = None

    @classmethod
    def of(cls, said: Integration, http: Http) -> "Identity":
        """`http` is the way to where tokens are given."""
        if said.auth == "oauth2" and said.oauth2 is not None:
            ca = said.oauth2.tls_ca
            return cls({}, Token(http.trusting(ca) if ca else http, said.oauth2))
        if said.auth == "basic" and said.username is not None and said.password is not None:
            return cls(basic(said.username, said.password.get_secret_value()))
        if said.token is None:
            return cls({})
        secret = said.token.get_secret_value().strip()  # files of secrets often end in a line feed
        return cls({"x-api-key": secret} if said.auth == "api_key" else {"authorization": f"Bearer {secret}"})

    async def headers(self) -> dict[str, str]:
        """Their names in lower case, fit for HTTP and for gRPC's metadata. Raises: Trouble."""
        shown = {"authorization": f"Bearer {await self.token.get()}"} if self.token else self.fixed
        if not all(map(SENDABLE.fullmatch, shown.values())):
            raise Trouble("our token or API key for it has a character that no header can have")
        return shown

    def refused(self, shown: dict[str, str]) -> bool:
        """They didn't take `shown`; whether asking again with new headers makes sense."""
        if self.token is None:
            return False
        self.token.refused(shown["authorization"].removeprefix("Bearer "))
        return True


def secrets(shown: Mapping[str, str]) -> Iterator[str]:
    """What nobody may see of headers: each value, and what follows Bearer or Basic in it."""
    for value in shown.values():
        yield value
        yield value.partition(" ")[2]


def basic(name: str, secret: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"}


async def sent(
    http: Http, method: str, url: str, content: bytes, headers: dict[str, str], read_at_most: int = 1 << 16
) -> Answer:
    """The answer, whatever it is. Raises: Trouble when there is none."""
    try:
        return await http.request(method, url, content, headers, read_at_most=read_at_most)
    except Busy as busy:
        raise Trouble(line(str(busy)), passing=True) from busy
    except Unanswered as nothing:
        raise Trouble(line(str(nothing)), passing=True, doubtful=method != "GET", ill=True) from nothing
    except Blocked as blocked:
        raise Trouble(line(str(blocked))) from blocked
    except Invalid as never:
        raise Trouble(line(never.message)) from never
