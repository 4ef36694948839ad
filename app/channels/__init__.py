"""The ways to reach people: one file, one line."""

from collections.abc import Callable

from app.channels.base import Channel
from app.channels.email import Email
from app.channels.webhook import Webhook
from app.config import Notifications
from app.domain.vocabulary import ChannelName
from app.net.http import Http

CHANNELS: dict[ChannelName, Callable[[Notifications, Http], Channel]] = {
    ChannelName.EMAIL: Email.configured,
    ChannelName.WEBHOOK: Webhook.configured,
}
