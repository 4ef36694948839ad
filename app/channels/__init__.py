"""The ways to reach people: one file, one line."""

from collections.abc import Callable

from app.channels.apprise import Apprise, Sms
from app.channels.base import Channel
from app.channels.email import Email
from app.channels.pagerduty import PagerDuty
from app.channels.slack import Slack
from app.channels.teams import Teams
from app.channels.webhook import Webhook
from app.config import Notifications
from app.domain.vocabulary import ChannelName
from app.net.http import Http

CHANNELS: dict[ChannelName, Callable[[Notifications, Http], Channel | None]] = {
    ChannelName.EMAIL: Email.configured,
    ChannelName.WEBHOOK: Webhook.configured,
    ChannelName.SLACK: Slack.configured,
    ChannelName.PAGERDUTY: PagerDuty.configured,
    ChannelName.TEAMS: Teams.configured,
    ChannelName.SMS: Sms.configured,
    ChannelName.APPRISE: Apprise.configured,
}
