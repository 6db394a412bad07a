"""Sites of Flask, CherryPy and Django at the root of a server that has a prefix of its own. Each
sends ``/pies`` to ``/pies/``, below which its relative links are; Flask and CherryPy also the bare
prefix, which Django takes for its index.

The query says which of them is asked: ``/shop?flask``.
"""

from __future__ import annotations

import os
from typing import Any

import cherrypy
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from flask import Flask

from micropie import dual

flask = Flask(__name__)


@flask.route("/")
def index() -> str:
    return '<a href="pies">pies</a>'


@flask.route("/pies/")
def pies() -> str:
    return '<a href="one">one</a>'


class Pies:
    index = cherrypy.expose(lambda self, **_: '<a href="one">one</a>')


class Root:
    pies = Pies()
    index = cherrypy.expose(lambda self, **_: '<a href="pies">pies</a>')


urlpatterns = [
    path("", lambda request: HttpResponse('<a href="pies">pies</a>')),
    path("pies/", lambda request: HttpResponse('<a href="one">one</a>')),
]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.urandom(16).hex(),
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    django.setup()

SITES: dict[str, Any] = {
    "flask": flask,
    "cherrypy": cherrypy.Application(Root(), None),
    "django": get_wsgi_application(),
}


def sites(environ: Any, start_response: Any) -> Any:
    """Answer as the site that the query names."""
    return SITES[environ["QUERY_STRING"]](environ, start_response)


app = dual(sites, kind="wsgi")
