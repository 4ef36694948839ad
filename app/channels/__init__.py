"""The ways to reach people: one file, one line."""

from app.channels.email import Email
from app.channels.webhook import Webhook
from app.domain.vocabulary import ChannelName

CHANNELS = {ChannelName.EMAIL: Email, ChannelName.WEBHOOK: Webhook}
