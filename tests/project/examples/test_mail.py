"""``how_to/mail``: what a real SMTP server gets by smtplib and by aiosmtplib, encrypted and after a
log-in.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from anyio.from_thread import start_blocking_portal

from examples.how_to.mail.app import Shop, Smtp, app
from tests.support.certificates import make_certificate
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.processes

USER, PASSWORD = "pies", "apple"


class Mails(SimpleQueue[EmailMessage]):
    """The handler of the server."""

    refusal = ""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusal:
            return self.refusal
        assert session.ssl
        assert session.authenticated
        assert isinstance(envelope.content, bytes)
        self.put(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def take(self) -> EmailMessage:
        return self.get(timeout=PATIENCE)


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(
        success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False
    )


class Server(NamedTuple):
    mails: Mails
    port: int


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("smtp"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    mails = Mails()

    def connected() -> SMTP:
        return SMTP(
            mails,
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            authenticator=authenticate,
            auth_required=True,
        )

    async def listen() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)

    with start_blocking_portal() as portal, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        server = portal.call(listen)
        yield Server(mails, server.sockets[0].getsockname()[1])
        portal.call(server.close)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.mails.refusal = ""
    assert running.mails.empty()


def shop(server: Server, password: str = PASSWORD) -> Shop:
    make: Any = Shop
    smtp: Any = Smtp
    return make(smtp("localhost", server.port, USER, password))  # type: ignore[no-any-return]


def test_a_mail_is_sent_after_the_response(server: Server, make_client: MakeClient) -> None:
    client = make_client(shop(server))
    sent = {"email": "ann@example.com", "pie": "<plum>"}
    assert client.post("/order", data=sent).status_code == 202
    mail = server.mails.take()
    assert (mail["To"], mail["From"]) == ("ann@example.com", "Pies <pies@example.com>")
    assert mail["Message-ID"].endswith("@example.com>")
    text, page = mail.iter_parts()
    assert text.get_content().strip() == "One <plum> pie is in the oven."
    assert page.get_content_type() == "text/html"
    assert "<b>&lt;plum&gt;</b>" in page.get_content()


@pytest.mark.parametrize(
    "email",
    ["", "ann", "ann@example.com, eve@example.com", "ann@example.com\nBcc: eve@example.com"],
)
def test_an_address_of_somebody_else_can_t_be_added(
    server: Server, make_client: MakeClient, email: str
) -> None:
    client = make_client(shop(server))
    for path in ("/order", "/remind"):
        assert client.post(path, data={"email": email, "pie": "plum"}).status_code == 422


@pytest.mark.parametrize("world", ["wsgi", "asyncio"])
def test_an_async_handler_waits_for_the_mail_server(
    server: Server, connect: MakeClient, world: str
) -> None:
    sent = {"email": "ann@example.com", "pie": "plum"}
    client = connect(shop(server), world)
    assert client.post("/remind", data=sent).text == "Sent."
    assert server.mails.take()["Subject"] == "Reminder"
    server.mails.refusal = "451 Please try again"
    assert client.post("/remind", data=sent).status_code == 503
    assert connect(shop(server, "guess"), world).post("/remind", data=sent).status_code == 503


def test_the_application_of_the_page_has_its_settings() -> None:
    assert isinstance(app, Shop)
