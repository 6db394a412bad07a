import os
from contextlib import asynccontextmanager
from typing import Literal

from sqladmin import Admin, ModelView
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette

from micropie import App, Redirect, Request, command, get, requires
from micropie.middleware import SecurityDefaults


class Base(DeclarativeBase):
    pass


class Pie(Base):
    __tablename__ = "pies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]


class PieAdmin(ModelView, model=Pie):
    column_list = ("id", "name", "price")
    column_searchable_list = ("name",)


def staff(request: Request) -> Redirect | Literal[True]:
    """Admit those whom your log-in has stored as staff in the session."""
    return request.session.get("role") == "staff" or Redirect("/login")


class Shop(App):
    def __init__(self, url, **settings):
        super().__init__(**settings)
        self._engine = create_engine(url)
        pages = Starlette()
        Admin(pages, self._engine, base_url="/").add_view(PieAdmin)
        self.mount("/admin", requires(staff)(pages))

    @asynccontextmanager
    async def lifespan(self):
        yield
        self._engine.dispose()

    @command
    def init_db(self):
        Base.metadata.create_all(self._engine)

    @get
    def login(self):
        return "Here is your log-in."


app = Shop(
    os.environ.get("DATABASE_URL", "sqlite:///shop.db"),
    security=SecurityDefaults("localhost", "127.0.0.1"),
)
