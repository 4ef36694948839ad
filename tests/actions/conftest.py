"""What actions use: the guarded client, and whoever is asked."""

from collections.abc import AsyncIterator

import pytest

from app.net.http import LOOPBACK, Http
from tests.support.receivers import HttpReceiver, MailReceiver, http_receiver, mail_receiver
from tests.support.slack import FakeSlack, fake_slack


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK) as made:
        yield made


@pytest.fixture
async def hasty() -> AsyncIterator[Http]:
    """For those who say nothing."""
    async with Http(LOOPBACK, deadline_secs=0.5) as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[HttpReceiver]:
    """Somebody else's system."""
    async with http_receiver() as made:
        yield made


@pytest.fixture
async def mailbox() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as up:
        yield up


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as up:
        yield up
