from contextlib import asynccontextmanager
from email.utils import make_msgid

from jobs import broker, send_mail
from micropie import App, post


class Shop(App):
    @asynccontextmanager
    async def lifespan(self):
        await broker.startup()
        yield
        await broker.shutdown()

    @post
    async def order(self, pie, email):
        await send_mail.kiq(
            email, "Your order", f"One {pie} pie.", make_msgid(domain="example.com")
        )
        return 202, "ordered"


app = Shop()
