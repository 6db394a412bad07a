import os
import smtplib
import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from types import SimpleNamespace

import aiosmtplib

from micropie import App, HTTPError, post, template
from micropie.testing import TestClient

PAGE = "<p>One <b>{{ pie }}</b> pie is in the oven.</p>"


class Smtp:
    """Sends mail through a server that supports STARTTLS."""

    def __init__(self, host, port=587, user=None, password=None):
        self._host, self._port, self._user, self._password = host, port, user, password

    def send(self, mail):
        with smtplib.SMTP(self._host, self._port, timeout=30) as server:
            server.starttls(context=ssl.create_default_context())
            if self._user:
                server.login(self._user, self._password)
            server.send_message(mail)

    async def send_async(self, mail):  # on asyncio
        await aiosmtplib.send(
            mail,
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            start_tls=True,
            tls_context=ssl.create_default_context(),
            timeout=30,
        )


def message(to, subject, text, page):
    mail = EmailMessage()
    try:
        mail["To"] = Address(addr_spec=to)
    except (ValueError, IndexError, MessageError):
        raise HTTPError(422, "This is not an e-mail address.") from None
    mail["From"], mail["Subject"] = "Pies <pies@example.com>", subject
    mail["Message-ID"] = make_msgid(domain="example.com")
    mail.set_content(text)
    mail.add_alternative(page, subtype="html")
    return mail


class Shop(App):
    def __init__(self, smtp, **settings):
        super().__init__(**settings)
        self._smtp = smtp

    @post
    def order(self, email: str, pie: str):  # responds at once
        page = template(source=PAGE, pie=pie)
        mail = message(email, "Your order", f"One {pie} pie is in the oven.", page)
        self.request.after_response(self._smtp.send, mail)
        return 202, "Ordered."

    @post
    async def remind(self, email: str, pie: str):  # responds when the mail server has the mail
        page = template(source=PAGE, pie=pie)
        try:
            await self._smtp.send_async(message(email, "Reminder", f"Your {pie} pie.", page))
        except (aiosmtplib.SMTPException, OSError):
            raise HTTPError(503, "The mail can't be sent now. Please try again.") from None
        return "Sent."


app = Shop(
    Smtp(
        os.environ.get("SMTP_HOST", "localhost"),
        int(os.environ.get("SMTP_PORT", "587")),
        os.environ.get("SMTP_USER"),
        os.environ.get("SMTP_PASSWORD"),
    )
)


def test_an_order_is_confirmed():
    mails = []
    with TestClient(Shop(SimpleNamespace(send=mails.append))) as client:
        client.post("/order", data={"email": "ann@example.com", "pie": "plum"})
    assert [mail["To"] for mail in mails] == ["ann@example.com"]  # sent when the client is closed
