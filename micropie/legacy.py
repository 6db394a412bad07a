"""``Server``, the first name of ``App``, with the attributes that its applications read."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from micropie.app import App
from micropie.errors import Redirect
from micropie.forms import UploadFile
from micropie.sessions import Session
from micropie.types import Parameters


class Server(App):
    """An ``App`` whose handlers read ``self.session`` where new ones read ``self.request.session``."""

    _micropie_is_framework = True

    @property
    def session(self) -> Session:
        """``self.request.session``"""
        return self.request.session

    @session.setter
    def session(self, values: dict[str, Any]) -> None:
        self.request.session = values

    @property
    def query_params(self) -> Parameters:
        """``self.request.query_params``"""
        return self.request.query_params

    @property
    def body_params(self) -> Parameters:
        """``self.request.body_params``"""
        return self.request.body_params

    @property
    def path_params(self) -> Sequence[Any]:
        """``self.request.path_params``"""
        return self.request.path_params

    @property
    def files(self) -> dict[str, UploadFile]:
        """``self.request.files``"""
        return self.request.files

    def render_template(self, name: str, /, **context: Any) -> Awaitable[str]:
        """``await self.render_template("index.html", ...)``"""
        return self._render_template(name, **context)

    def redirect(self, location: str) -> Redirect:
        """``return self.redirect("/there")``"""
        return self._redirect(location)
