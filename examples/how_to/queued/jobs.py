import os
import smtplib
from asyncio import sleep
from email.message import EmailMessage

from redis.exceptions import RedisError
from taskiq import TaskiqScheduler
from taskiq.exceptions import SendTaskError
from taskiq.middlewares import SmartRetryMiddleware
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379")

later = ListRedisScheduleSource(REDIS)  # tasks that are tried again later
retries = SmartRetryMiddleware(
    default_retry_count=48,  # these retries take 19 hours
    default_delay=60,  # seconds: 60, then 120, 180, ...
    use_delay_exponent=True,
    max_delay_exponent=3600,
    use_jitter=True,
    schedule_source=later,
)
broker = RedisStreamBroker(
    REDIS,
    idle_timeout=600_000,  # milliseconds, longer than any task takes
    unacknowledged_lock_timeout=60,
    maxlen=100_000,
).with_middlewares(retries)


class Scheduler(TaskiqScheduler):
    async def on_ready(self, source, task):
        while True:  # without this, taskiq would lose a task that comes due while Redis restarts
            try:
                return await super().on_ready(source, task)
            except (SendTaskError, RedisError):
                await sleep(5)


scheduler = Scheduler(broker, [LabelScheduleSource(broker), later])


class TryAgain(Exception):
    """The mail server can't take the mail now."""


@broker.task(retry_on_error=True, types_of_exceptions=[TryAgain])
def send_mail(to, subject, text, message_id):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "pies@example.com", to, subject
    mail["Message-ID"] = message_id
    mail.set_content(text)
    try:
        with smtplib.SMTP("localhost", timeout=30) as server:
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        if all(code >= 500 for code, _ in error.recipients.values()):
            raise
        raise TryAgain from error
    except smtplib.SMTPResponseException as error:
        if error.smtp_code >= 500:
            raise
        raise TryAgain from error
    except OSError as error:  # no connection, or no response in time
        raise TryAgain from error


@broker.task(schedule=[{"cron": "0 3 * * *"}])  # every day at 3:00 UTC
async def delete_old_orders(): ...
