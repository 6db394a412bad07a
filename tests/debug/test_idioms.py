"""Idioms of other frameworks: ``MODULES`` has code that their users write, and the hint that says
what to write here. It comes before the first request where it can, and with its response otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
import pytest

from micropie import SetupError
from micropie._core.streams.events import warn_of_dict, warn_of_format
from micropie.testing import LifespanFailed, WebSocketClosed
from tests.support.clients import MakeClient

# Each is a module as a user of another framework writes it: where the idiom is from, the code, the
# first request, and what is reported before it or with its response.
CALLS = [
    ("FastAPI: APIRouter", "from micropie import APIRouter", "", "write class Pies(App)"),
    ("FastAPI: Depends", "from micropie import App, Depends", "", "@app.provides(Db)"),
    ("FastAPI: HTTPException", "from micropie import HTTPException", "", "raise HTTPError(404)"),
    ("FastAPI: File", "from micropie import File", "", "write a parameter such as pie: UploadFile"),
    ("FastAPI: Path", "from micropie import Path", "", "write a parameter pie_id: int, and"),
    ("Flask: jsonify", "from micropie import jsonify", "", 'write return {"name": "apple"}'),
    ("Flask: Blueprint", "App().register_blueprint(App())", "", 'app.mount("/prefix", other)'),
    ("Bottle: merge", "App().merge(App())", "", 'write app.mount("/prefix", other)'),
    ("Bottle: install", "App().install(len)", "", "write app.middlewares.append(hook)"),
    ("FastAPI: overrides", "App().dependency_overrides[5] = 5", "", "client.override(Db, fake)"),
    ("Flask: run(debug=True)", "App().run(debug=True)", "", "write App(debug=True)"),
    ("Flask: run(threaded=True)", "App().run(threaded=True)", "", "write App(threads=...)"),
    ("Bottle: run(server=)", "App().run(server='paste')", "", "there are: uvicorn, hypercorn"),
    ("Litestar: route_handlers", "App(route_handlers=[len])", "", "write a method for each"),
    ("Bottle: mount(app, prefix)", "App().mount(App(), '/x')", "", 'begin with "/", such as'),
    ("Flask: methods='POST'", "route('/x', methods='POST')", "", 'write methods=["POST"]'),
    ("Bottle: method=", "route('/x', method='POST')", "", 'in a list, methods=["POST"]'),
    ("Bottle: app.route(method=)", "App().route('/x', method='PUT')", "", "its methods in a list"),
    ("FastAPI: tags=", "App().get('/x', tags=['pies'])", "", "write @describe(...) below it"),
    ("Litestar: guards=", "get('/x', guards=[len])", "", "write @requires(check) below it"),
    ("FastAPI: Query(1)", "n: int = Query(1)", "", "for a default, write n: Annotated"),
    ("FastAPI: Body(embed=True)", "Body(embed=True)", "", "a class for the whole body"),
    ("FastAPI: Header(alias=)", "Header(alias='X-A')", "", 'write Header("X-Name")'),
    ("any: a keyword that no framework has", "route('/x', colour=1)", "", "takes no colour"),
    ("Django: a regular expression", r"get(r'^pies/(?P<n>\d+)$')", "", "is a regular expression"),
    ("Flask: a query in a route", "get('/pies?n=<n>')", "", "has a query: leave the query out"),
    ("Express: an asterisk", "get('/files/*')", "", "write <name:path> for the rest of the path"),
    ("any: a host in a route", "get('http://x.org/pies')", "", "write its path alone, '/pies'"),
    ("any: a list of responses", "describe(responses=[409])", "", 'takes a dict: {409: "'),
    ("any: a tag", "describe(tags='pies')", "", 'tags must be a list: write tags=["pies"]'),
    *(
        (
            f"FastAPI: {written}",
            f"import fastapi\nclass Root(App):\n    def index(self, one: {written}): ...",
            "GET /",
            f"parameter 'one': {name} can't be used here: write {advice}",
        )
        for written, name, advice in [
            (
                "Annotated[str, fastapi.Depends(len)]",
                "Depends of fastapi",
                "a parameter such as db: Db, and @app.provides",
            ),
            (
                "fastapi.Depends(len)",
                "Depends of fastapi",
                "a parameter such as db: Db, and @app.provides(Db) above",
            ),
            (
                "str = fastapi.Security(len)",
                "Security of fastapi",
                "a parameter such as db: Db, and @app.provides",
            ),
            ("Annotated[str, fastapi.Query()]", "Query of fastapi", "the class of this name"),
            (
                "Annotated[str | None, fastapi.Header()]",
                "Header of fastapi",
                "the class of this name",
            ),
            ("str = fastapi.Cookie(None)", "Cookie of fastapi", "the class of this name"),
            ("str = fastapi.Form()", "Form of fastapi", "the class of this name"),
            ("Annotated[dict, fastapi.Body()]", "Body of fastapi", "the class of this name"),
            ("int = fastapi.Path()", "Path of fastapi", "<number:int> in the path, and"),
            (
                "bytes = fastapi.File()",
                "File of fastapi",
                "a parameter such as pie: UploadFile, imported from micropie",
            ),
            ("fastapi.UploadFile", "UploadFile of fastapi", "the class of this name"),
            ("fastapi.Request", "Request of starlette", "the class of this name"),
            ("fastapi.Response", "Response of starlette", "self.response in the handler"),
            ("fastapi.WebSocket", "WebSocket of starlette", "@websocket above the handler"),
            ("fastapi.BackgroundTasks", "BackgroundTasks of fastapi", "request.after_response("),
        ]
    ),
    *(
        (
            f"raised: {raised}",
            f"import {raised.partition('.')[0]}\nfrom django import http\n"
            "from django.core import exceptions\nimport starlette.exceptions, werkzeug.exceptions\n"
            f"class Root(App):\n    def index(self):\n        raise {raised}",
            "GET /",
            'Raise an exception of micropie: HTTPError(404, "No pie.") or Redirect("/pies").',
        )
        for raised in [
            "fastapi.HTTPException(404)",
            "starlette.exceptions.HTTPException(404)",
            "werkzeug.exceptions.NotFound",
            "bottle.HTTPError(404)",
            "bottle.HTTPResponse('x', 404)",
            "cherrypy.HTTPError(404)",
            "cherrypy.HTTPRedirect('/x')",
            "cherrypy.NotFound",
            "django.http.Http404",
            "django.core.exceptions.PermissionDenied",
        ]
    ),
]

# The same as text. Indented code is the body of an application, Root.
MODULES = r"""
# Starlette: add_middleware
App().add_middleware(CORSMiddleware, allow_origins=['*'])
-> write app.middlewares.append(hook)
# Starlette: arguments of CORSMiddleware
CORSMiddleware(allow_origins=['*'])
-> CORSMiddleware takes no allow_origins: write origins=...
# FastAPI: exception_handler
App().exception_handler(KeyError)
-> write @app.error(404) above a function
# Flask: wsgi_app
app = App()
app.wsgi_app = len(app.wsgi_app)
-> dual(Middleware(app))
# Litestar: on_startup
App(on_startup=[len])
-> write lifespan=..., which runs code at startup and at shutdown
# FastAPI: braces
    @get('/pies/{n}')
    def pie(self, n: int): ...
-> write <name> for {name}
# Flask: <int:n>
    @get('/pies/<int:n>')
    def pie(self, n: int): ...
-> write <n:int>
# FastAPI: Query(gt=0)
Annotated[int, Query(gt=0)]
-> Annotated[..., Query(), Meta(gt=0)]
# FastAPI: Query(regex=)
Annotated[str, Query(regex='a+')]
-> write Annotated[..., Query(), Meta(pattern='a+')], with Meta from msgspec
# FastAPI: BackgroundTasks
from starlette.background import BackgroundTasks
class Root(App):
    def index(self, tasks: BackgroundTasks): ...
GET / -> 'tasks': BackgroundTasks of starlette can't be used here: write request.after_response(
# Flask: no self
    @get
    def about(): ...
GET /about -> write def about(self)
# Bottle: no self, but a wildcard
    @get('/pies/<n>')
    def pie(n): ...
GET /pies/1 -> no parameter 'n': its first parameter gets self, so write self before n
# FastAPI: an upload by GET
    @get
    def pie(self, file: UploadFile): ...
GET /pie -> 'file' takes a file, but a GET request has no body: write @post above the handler
# Django: middleware as text
    middlewares = ['shop.Timing']
GET / -> 'shop.Timing' is not middleware: append an object with before_request
# Django: middleware that takes get_response
def timing(get_response): return get_response
class Root(App):
    middlewares = [timing]
GET / -> or a generator function (def or async def) with one yield
# Flask: after_request(response)
class Hook(HttpMiddleware):
    def after_request(self, response): ...
class Root(App):
    middlewares = [Hook()]
GET / -> write def after_request(self, request, status, response_body, extra_headers)
# Litestar: path of a controller
    path = '/pies'
GET / -> Root.path has no effect here: write app.mount("/path", Users())
# Litestar: dependencies of a controller
    dependencies = {'db': len}
GET / -> write @app.provides(Db)
# Django: urlpatterns
    urlpatterns = []
GET / -> write public methods, with their names as URLs or with @get("/path") above each
# Django: ALLOWED_HOSTS
    ALLOWED_HOSTS = ['*']
GET / -> write security=SecurityDefaults("example.com")
# Django: a view of a class
    def get(self): return 'x'
GET / -> Root.get handles the URL /get, because a method's name is its URL: to handle GET requests, write @get("/") above a method
# Bottle: request.forms
    def index(self): return self.request.forms.get('x')
GET / -> Write request.form["name"].
# CherryPy: request.params
    def index(self): return self.request.params['x']
GET / -> Write request.query["name"], or for a form request.form["name"].
# Django: request.META
    def index(self): return self.request.META
GET / -> Write request.headers["Name"].
# Starlette: await request.form()
    async def index(self): return await self.request.form()
GET / -> Remove await: only async functions can be awaited, not a def of your own, request.json()
# Starlette: Response(content=)
    def index(self): return Response(content='x')
GET / -> It takes (body=
# Starlette: ws.iter_text()
    async def ws_chat(self, ws): await ws.accept(); ws.iter_text()
WS /chat -> Use one of: async for message in ws
# Starlette: app.state.db that nothing has set
    def index(self): return self.request.app.state.db
GET / -> set app.state.db = ...
# Flask: session.permanent
    def index(self): self.request.session.permanent = True
GET / -> A session is a dict: use session["name"].
# Flask: render_template
    def index(self): return self.render_template('a.html')
GET / -> write self.render("page.html", name="value")
# Django: render(request, ...)
    def index(self): return self.render(self.request, 'a.html', {})
GET / -> Leave the request out: render(
# Django: {% csrf_token %}
    def index(self): return template(source='{% csrf_token %}')
GET / -> Write {{ csrf_input }} in the form.
# Django: {% url %}
    def index(self): return template(source='{% url "a" %}')
GET / -> Write {{ url_for('name', 5) }}.
# CherryPy: raise self.redirect
    def index(self): raise self.redirect('/x')
GET / -> write return Redirect("/pies"), or raise it
# Bottle: set_cookie(secret=)
    def index(self): self.response.set_cookie('a', 'b', secret='k')
GET / -> Write request.set_signed_cookie("name", value)
# Flask: an open file
    def index(self): return io.StringIO('x')
GET / -> index returned StringIO, which is not sent as a file: write static_file(
# Flask: a path
    def index(self): return Path('x.pdf')
GET / -> Path, which is not sent as a file: write static_file(
# any: a class for the server
class Root(App): ...
Root({'wsgi.version': (1, 0)}, len)
-> write app = Root()
# any: no await in a dict
class Root(App):
    def index(self): return {'a': later()}
async def later(): ...
GET / -> write await in front of the call that returns it
# FastAPI: Query() as a default
    def index(self, n: int = Query()): ...
GET / -> Query() is not a default: write n: Annotated[..., Query()]
# FastAPI: Header(None) as a default
    def index(self, n: str | None = Header(None)): ...
GET / -> Header() is not a default
# FastAPI: response as a parameter
    def index(self, response: Response): ...
GET / -> Response of micropie can't be used here: write self.response in the handler
# FastAPI: a socket in a handler
    async def chat(self, ws: WebSocket): ...
GET /chat -> WebSocket of micropie can't be used here: write @websocket above the handler
# Express: req and res
    def index(self, req, res): ...
GET / -> write req: Request. If you want a value from the query, write req: str
# Django: response
    def index(self, response): ...
GET / -> write self.response in the handler, and remove this parameter. If you want a value from the query, write response: str
# any: a number's default as text
    def index(self, page: int | None = '1'): ...
GET / -> its default is a str, but its annotation is int: change one
# any: an empty text for no number
    def index(self, page: int = ''): ...
GET / -> its default is a str, but its annotation is int: change one
# any: a text as a number's default
    def index(self, page: int = 'a'): ...
GET / -> its default is a str, but its annotation is int: change one
# Flask: decorators of a view
    decorators = [len]
GET / -> Root.decorators has no effect here: write @requires(check) above the class
# Django REST framework: authentication_classes
    authentication_classes = (len,)
GET / -> write @requires(check) above the class
# Litestar: middleware of a controller
    middleware = [len]
GET / -> Root.middleware has no effect here: write middlewares = [...]
# FastAPI: prefix of a router
    prefix = '/pies'
GET / -> Root.prefix has no effect here: write app.mount("/path", Users())
# Starlette: state in the class
    state = {'db': 5}
GET / -> Root.state has no effect here: write self.state.name = ...
# Flask: a method before_request
    def before_request(self): ...
GET / -> Root.before_request is served as a page, not run as a hook: write a class with this method, and add an object of this class to middlewares
# Litestar: a method on_startup
    async def on_startup(self): ...
GET / -> Root.on_startup is served as a page, not run as a hook: write this method's code in a method named lifespan
# Flask: a cache above a page
    @functools.cache
    def mine(self): return self.request.query.get('name')
GET /mine -> Root.mine: a cache decorator on a handler gives every client the response made for the first client
# any: a cache above async def
    @functools.lru_cache(5)
    async def mine(self): ...
GET /mine -> move the decorator to a function that the handler calls
# any: a cache above a generator
    @functools.cache
    def mine(self): yield 'a'
GET /mine -> move the decorator to a function that the handler calls
# any: a cache above an async generator
    @functools.cache
    async def mine(self): yield 'a'
GET /mine -> move the decorator to a function that the handler calls
# any: a property
    @property
    def about(self): raise LookupError
GET /about -> Root.about (property) is not a page: write a method, def about(self)
# any: a property of an inner application
class Shop(App):
    @functools.cached_property
    def about(self): ...
class Root(App):
    shop = Shop()
GET /shop/about/5 -> Shop.about (cached_property) is not a page
# any: a class in a class
    class Shop(App): ...
GET /Shop -> Root.Shop is a class, so it has no routes: write Shop = Shop()
# any: a class beside its application
class Shop(App): ...
class Root(App):
    kind = Shop
    shop = Shop()
GET /kind -> Root.kind (class) is not a page: write kind = Shop(), an object
# any: applications in a dict
    shops = {'first': App()}
GET /shops/first -> Root.shops (dict) is not a page
# any: a number
    ovens = 5
GET /ovens -> Root.ovens (int) is not a page: write a method, def ovens(self)
# any: no decorator where one is wanted
    def about(self): ...
    def __init__(self, **settings): super().__init__(expose='explicit', **settings)
GET /about -> Root.about (function) is not a page: write @get above it
# Flask: a body and headers in a list
    def index(self): return 'x', [('X-A', 'b')]
GET / -> put the status first, as in return 200, body, headers
# Django: process_request
class Auth(HttpMiddleware):
    def process_request(self, request): ...
-> Auth.process_request is not a hook: write before_request(self, request)
# any: a decorator without functools.wraps
def logged(function):
    def wrapper(self, *args, **kwargs): return function(self, *args, **kwargs)
    return wrapper
class Root(App):
    @logged
    def show(self, number: int): ...
GET / -> in the decorator, write @functools.wraps(function) above def wrapper
# any: a resource without an annotation
class Db: ...
class Root(App):
    def index(self, db): ...
    def __init__(self, **settings):
        super().__init__(**settings)
        self.provides(Db)(Db)
GET / -> Root.index takes db from the query, because the parameter has no annotation: write "db: Db"
# FastAPI: an object with __call__ as a dependency
from typing import Annotated
class Checker:
    def __call__(self): return 'server'
class Root(App):
    async def ws_talk(self, ws: ForTypeCheckers): ...
    def index(self, who: Annotated[str, 'text', Checker()]): return who
GET /?who=client -> Root.index takes who from the client, because an object of Checker in Annotated provides
# any: a number without an annotation
    def index(self, name: str = '', page=1): return page + 1
GET /?page=2 -> Without an annotation, page is text: write page: int
# any: a method that is awaited
    async def index(self): return await self.request.body
ASYNC / -> Write the parentheses: await request.body(), not request.body.
# Flask: json.dumps
import json
class Root(App):
    def index(self): return json.dumps({'a': 1})
GET / -> returned JSON as a str, which is sent as text: return the dict or the list itself
# Flask: events written out
    def index(self): return EventStream(f'data: {n}\n\n' for n in (1, 2))
GET / -> yield only the data, or event(data)
# Flask: body, headers, status
    def index(self): return 'x', {'X-A': 'b'}, 201
GET / -> put the status first, as in return 200, body, headers
# Flask: request.remote_addr
    def index(self): return self.request.remote_addr
GET / -> Write request.client.host (on a UNIX socket, request.client is None).
# Flask: response.mimetype
    def index(self): self.response.mimetype = 'text/csv'
GET / -> Write response.content_type = "text/csv".
# Express: res.json
    def index(self): return self.response.json({'a': 1})
GET / -> Write "return body" in the handler.
# Express: res.redirect
    def index(self): return self.response.redirect('/x')
GET / -> Write return Redirect("/pies").
# any: asyncio.run() in async def
import asyncio
class Root(App):
    async def index(self): asyncio.run(asyncio.sleep(0))
ASYNC / -> Write await f() instead of asyncio.run(f()).
# any: a task of a def handler
import asyncio
class Root(App):
    def index(self): asyncio.create_task(None)
GET / -> A def handler runs in a thread: use async def
# Django: flash(level, text)
    def index(self): flash('success', 'The pie is saved.')
GET / -> flash takes the text first: write flash(text, category)
# Django: flash(request, text)
    def index(self): flash(self.request, 'saved')
GET / -> flash takes the text first: write flash(text, category)
# any: rows of a stream
    def index(self): yield {'n': 1}
GET / -> not dict: write yield json.dumps(...), or return all items in one list
# Starlette: on_startup
    on_startup = [print]
GET / -> Root.on_startup has no effect here: write a method named lifespan that calls these functions
# Starlette: app.on_startup = ...
    def __init__(self, **settings):
        super().__init__(**settings)
        self.on_startup = [print]
GET / -> Root.on_startup has no effect here: write a method named lifespan that calls these functions
# Sanic: @app.on_startup
class Root(App): ...
Root().on_startup(print)
GET / -> write App(lifespan=...)
# CherryPy: url_for of a method
    def index(self): return self.url_for(self.index)
GET / -> url_for takes the name of a route: write url_for('index')
# Flask: a route that is none
    def index(self): return self.url_for('other')
GET / -> there is no route named 'other', but there are: index
# Flask: static files without their directory
    def index(self): return self.static_url('site.css')
GET / -> there are: index; write app.static("/static", "static")
# any: a function instead of its events
    def index(self): return EventStream(self._ticks)
    def _ticks(self): ...
GET / -> : write _ticks()
# any: a status that the annotation lacks
from typing import Literal
class Root(App):
    def index(self) -> tuple[Literal[201], str]: return 200, 'x'
GET / -> returned status 200, but its annotation has no Literal[200]: add it
# Django: Redirect(permanent=True)
    def index(self): return Redirect('/', permanent=True)
GET / -> It takes (location, status=303,
# Django: response[...]
    def index(self): self.response['X-A'] = '1'
GET / -> Write response.headers[...].
# websockets: ws.recv()
    async def ws_chat(self, ws): await ws.accept(); await ws.recv()
WS /chat -> Use one of: async for message in ws; await ws.receive_text()
# websockets: for message in ws
    async def ws_chat(self, ws):
        await ws.accept()
        for message in ws: ...
WS /chat -> Use an async loop: async for message in ws.
# async for chunk in request.chunks()
    async def index(self):
        async for chunk in self.request.chunks(): ...
GET / -> To read the body in an async def, use request.stream() instead of request.chunks().
# Sanic: feed(request, ws)
    @websocket('/feed')
    async def feed(self, request, ws): ...
WS /feed -> write async def ws_name(self, ws), or @websocket above async def name(self, ws)
# Flask: an error handler without return
    def __init__(self, **settings):
        super().__init__(**settings)
        self.error(404)(lambda error: None)
GET /x -> the error handler returned nothing, so the response is empty: return a value
# Flask: the whole path of a file
    def index(self): return static_file('/srv/pies.csv', root='/srv')
GET / -> there is no file '/srv/pies.csv' in '/srv'
# Django: request.GET in a template
    def index(self): return template(source='{{ request.GET.page }}')
GET / -> Write request.query["name"].
# Django: a method in a template
    def index(self): return template(source='{% for k, v in d.items %}{% endfor %}', d={})
GET / -> Write the parentheses, in a template too: d.items(), not d.items.
# Django: a filter with a colon
    def index(self): return template(source='{{ d|date:"Y" }}', d={})
GET / -> arguments of a filter in parentheses
# any: a name that a template misspells
    def index(self): return template(source='{{ nmae }}')
GET / -> 'nmae' is undefined
# OpenAPI: a status in quotes
    @get
    @describe(responses={'404': 'No pie.'})
    def index(self): ...
GET / -> describe takes statuses from 200 to 599, not '404': write one number, without quotes
# Django: a status in quotes
class Root(App): ...
Root().error('404')
GET / -> not '404': write a number or a class, without quotes
# Flask: a hook that returns a redirect
from micropie.middleware import HttpMiddleware
class Asks(HttpMiddleware):
    def before_request(self, request): return Redirect('/log-in')
class Root(App):
    middlewares = [Asks()]
    def index(self): ...
GET / -> to send another response, raise it, as in raise Redirect(...)
# FastAPI: return 204
    def index(self): return 204
GET / -> returned 204, sent as a JSON number with status 200: write return 204, None
# Django: a redirect by name
    def index(self): return Redirect('login')
GET / -> redirects to 'login', which is relative to the current page: write url_for(...), or '/login'
# any: the errors of a form without annotation
    def index(self, errors): ...
GET / -> Root.index takes errors from the query, because the parameter has no annotation: write "errors: BindingErrors"
# aiohttp: session as a parameter
    def index(self, session): ...
GET / -> write self.request.session in the handler
# FastAPI: a function as an annotation
def current(request): ...
class Root(App):
    def index(self, user: current): ...
GET / -> or Annotated[..., current] if the function provides the value
# any: a built-in function as an annotation
    def index(self, user: any): ...
GET / -> it is annotated with a function: write a type, such as Any for any value
# FastAPI: keywords for a task
    def index(self): self.request.after_response(print, to='x')
GET / -> It takes (function, /, *arguments).
# Flask: set_cookie(expires_in=)
    def index(self): self.response.set_cookie('a', 'b', expires_in=5)
GET / -> It takes (name, value, *, max_age=None, expires=None,
# any: an argument that Response lacks
    def index(self): return Response('x', type='text')
GET / -> It takes (body=None, status=200, headers=(), content_type=None).
# any: static_file without root
    def index(self): return static_file('x')
GET / -> It takes (path, root, download=None
# any: an argument of the author's own function
def bake(kind): ...
class Root(App):
    def index(self): return bake()
GET / -> bake() missing 1 required positional argument: 'kind'
# any: a misspelt attribute
    def index(self): return self.request.heders
GET / -> Did you mean headers?
# any: an attribute of nothing
    def index(self): return self.response.xyzzy
GET / -> It has body, content_type, delete_cookie,
# Starlette: client.websocket_connect
from micropie.testing import TestClient
TestClient(App()).websocket_connect('/')
GET / -> TestClient has no websocket_connect: write client.websocket("/chat")
# any: what no client has
from micropie.testing import TestClient
TestClient(App()).xyzzy
GET / -> 'TestClient' object has no attribute 'xyzzy'
# any: provides without the type
class Root(App): ...
@Root().provides
def db(): ...
GET / -> name the type of the resource, as in @app.provides(Session)
# Flask: url_for('static')
    def __init__(self, **settings):
        super().__init__(**settings)
        self.static('/static', 'docs')
    def index(self): return self.url_for('static', filename='x')
GET / -> url_for('static') takes path=...; write static_url(...) instead
# Django: a duration for a session
import datetime
App(session_timeout=datetime.timedelta(days=7))
GET / -> takes a whole number of seconds, 1 or more
# Flask: query.get(type=int)
    def index(self): return self.request.query.get('page', type=int)
GET / -> To convert a value, declare a parameter: def pies(self, page: int = 1).
# CherryPy: response.body = ...
    def index(self): self.response.body = 'x'
GET / -> index returned nothing, so the response is empty: return a value
# any: a header that no client has sent
    def index(self): return self.request.headers['X-Pie']
GET / -> The client sent no 'X-Pie': use .get('X-Pie')
# any: a call without await
    async def index(self): return self._find()['name']
    async def _find(self): return {'name': 'plum'}
GET / -> Write await in front of the call of the async function.
# any: a method of a coroutine
    async def index(self): return self._find().upper()
    async def _find(self): return 'plum'
GET / -> Write await in front of the call of the async function.
# Bottle: self.response = ...
    def index(self): self.response = 'plum'
GET / -> to send a response, return it
# any: a status that is text
    def index(self): return Response(201, 'plum')
GET / -> write Response(body, status=404)
# any: a WebSocket that returns
    async def ws_chat(self, ws): await ws.accept(); return {'a': 1}
WS /chat -> the handler returned dict, which is discarded: send it with await ws.send_json(...)
# any: an argument of an event in a stream
    def index(self): return EventStream(self._ticks())
    def _ticks(self): yield 'x'; yield event('x', name='tick')
GET / -> It takes (data, event=None, id=None, retry=None).
# FastAPI: an optional parameter without default
    def index(self, q: str | None): ...
GET / -> To make it optional, write q: ... = None.
# any: None without errors
class Db:
    pie = None
class Root(App):
    def index(self): return Db.pie.title
GET / -> 'NoneType' object has no attribute 'title'
# any: a coroutine for a template
    async def _load(self): ...
    def index(self): return template(source='{{ pies }}', pies=self._load())
GET / -> pies is a coroutine: write await in front of the call that returns it
# any: SecurityDefaults as middleware
from micropie.middleware import SecurityDefaults
class Root(App):
    middlewares = [SecurityDefaults('example.com')]
GET / -> write App(security=SecurityDefaults(...))
# pytest: a provider that yields nothing
class Db: ...
class Root(App):
    def index(self, db: Db): ...
    def __init__(self, **settings):
        super().__init__(**settings)
        self.provides(Db)(self._db)
    def _db(self): yield
GET / -> yielded None: yield a value, or annotate the function with -> Iterator[None]
# Starlette: a resource without with
class Db: ...
class Root(App):
    def index(self): return self.request.resource(Db).execute
    def __init__(self, **settings):
        super().__init__(**settings)
        self.provides(Db)(Db)
GET / -> Open the resource in a with block: with request.resource(Db) as db
# Python: html with %s
    def index(self): return html('<p>%s</p>', 'plum')
GET / -> the text of html() has no {}: write {} instead of %s
# Python: html with a name
    def index(self): return html('<p>{name}</p>', 'plum')
GET / -> html() got no value for {name}
# Python: html with a number
    def index(self): return html('<p>{1}</p>', 'plum')
GET / -> html() got no value for {1}
# Django: client.login with a password
from micropie.testing import TestClient
TestClient(App()).login(username='ann', password='x')
GET / -> write client.login(user=...)
# Flask: an image as bytes
    def index(self): return b'\x89PNG'
GET / -> returned bytes that aren't text but are sent as text/html
# Flask: a redirect by its status
    def index(self): return 302, '/login'
GET / -> sends 302 without a Location: write Redirect("/pies", status=302)
# Bottle: a redirect by response.status
    def index(self): self.response.status = 303; return '/login'
GET / -> sends 303 without a Location
# PHP: a name with brackets
    def index(self, pie: str = ''): ...
GET /?pie[]=plum -> got 'pie[]', but the parameter is 'pie': write "pie: Annotated[..., Form('pie[]')]", or Query instead of Form for a query string
# JavaScript: a name in another style
from typing import Annotated
class Root(App):
    def index(self, user_name: Annotated[str, 'who']): ...
GET /?userName=plum -> got 'userName', but the parameter is 'user_name'
# any: an attribute that hides a page
    def pies(self): ...
    def __init__(self, **settings):
        super().__init__(**settings)
        self.pies = []
GET / -> Root.pies is hidden by the attribute self.pies
# any: an address with a mistake
    def cherry(self): ...
GET /chery -> no route matches '/chery': did you mean /cherry?
# any: expires in seconds
    def index(self): self.response.set_cookie('a', 'b', expires=3600)
GET / -> expires must be a datetime, not 3600: for seconds, write max_age
# any: an async function in a template
    async def _count(self): ...
    def index(self): return template(source='{{ count() }}', count=self._count)
GET / -> a template can't show a coroutine: in the handler, write "return await self.render_async(...)"
# sse-starlette: events as dicts
    def index(self): return EventStream([{'event': 'tick', 'data': '1'}])
GET / -> an event source yielded a dict of an event's fields, but the whole dict is sent as JSON data
# Django: a setting in the class
    templates = 'views'
GET / -> Root.templates has no effect as an attribute: write Root(templates=...)
# Bottle: methods in the class
    methods = ['GET']
GET / -> Root.methods has no effect as an attribute: write Root(methods=...)
# CherryPy: a tree of plain objects
class Shop:
    def index(self): ...
class Root(App):
    shop = Shop()
GET / -> Root.shop is a Shop but not an App, so nothing handles /shop: write class Shop(App)
# Django: a middleware class without hooks
class Timing:
    def __init__(self, get_response): ...
class Root(App):
    middlewares = [Timing]
GET / -> is not middleware: append an object with before_request
# Bottle: an error handler that takes the request
    def index(self): ...
    def __init__(self, **settings):
        super().__init__(**settings)
        self.error(404)(lambda failed: failed.path)
GET /x -> An error handler takes the request as a parameter: def missing(request, error).
# CherryPy: an upload whose form is none
    def index(self, pie=''): return pie.filename
GET /?pie=a.png -> Annotate the parameter with UploadFile, and give the form enctype="multipart/form-data".
# CherryPy: an object that is not exposed
class Clock: ...
class Root(App):
    clock = Clock()
GET /clock -> Root.clock (Clock) is not a page: write class Clock(App)
# FastAPI: CORS behind the log-in
from micropie.middleware import BearerAuth, CSRFMiddleware
class Root(App):
    middlewares = [
        BearerAuth(lambda token: True),
        CSRFMiddleware(),
        CORSMiddleware(origins=['https://a.example']),
    ]
GET / -> Root: BearerAuth refuses preflight requests, because they have no credentials. Put CORSMiddleware, which answers them, before BearerAuth
# FastAPI: an override of what nobody asks for
from micropie.testing import TestClient
def db(): ...
def old(): ...
class Root(App):
    def index(self, db: Annotated[str, db]): ...
TestClient(Root()).override(old, 5)
GET / -> override(old, ...) may do nothing: no handler or access check depends on old
# FastAPI: HTTPError(status_code=)
    def index(self): raise HTTPError(status_code=404)
GET / -> It takes (status, message=
# Flask: request.args
    def index(self): return self.request.args
GET / -> Write request.query["name"].
# Flask: request.json[...]
    @post
    def index(self): return self.request.json["x"]
POST / -> Write the parentheses: request.json()["name"]
# any: a page of a generator
    def index(self): return Page.of(one for one in [1])
GET / -> Page.of takes a list, not generator: write Page.of([*items])
# any: max_age as text
    def index(self): self.response.set_cookie("a", "b", max_age="1h")
GET / -> max_age must be a number of seconds or a timedelta, not '1h'
# any: a field of the query that no client has sent
    def index(self): return self.request.query["pie"]
GET / -> The client sent no 'pie': use .get('pie')
# any: a number as a header
    def index(self): self.response.headers["X-Count"] = 5
GET / -> header 'x-count' must be a str, not 5: convert a number with str(...), join a list with ', '
# any: nothing to call after the response
    def index(self): self.request.after_response(None)
GET / -> write after_response(function, argument), not after_response(function(argument))
# Django: request.body.decode()
    def index(self): return self.request.body.decode()
GET / -> It is a method: call it first
# FastAPI: response.status_code
    def index(self): self.response.status_code = 201
GET / -> response.status = 201
# CherryPy: self.session
    def index(self): return self.session["x"]
GET / -> self.request.session
# any: a header of the request that is set
    def index(self): self.request.headers["X-Pie"] = "x"
GET / -> to set a response header, write response.headers[...] = value
# any: a field of the query that is deleted
    def index(self): del self.request.query["x"]
GET / -> What the client sent can't be changed
# CherryPy: response.cookies
    def index(self): self.response.cookies["x"] = "x"
GET / -> response.set_cookie("name", "value")
# Flask: a body and headers
    def index(self): return "text", {"X-Answer": "1"}
GET / -> put the status first, as in return 200, body, headers
# any: a status in quotes
    def index(self): return '404', 'gone'
GET / -> if 404 should be the status, write Response('gone', status=404)
# any: a default of None for a list
    def index(self, page, name=None, kind: str | None = None, tags: list[str] = None):
        return str(len(tags))
GET /?page=5 -> If the client sends no tags, it is None: test it, or change the default.
# any: an attribute of None
    def index(self, pie: str = None): return pie.title()
GET / -> If the client sends no pie, it is None: test it, or change the default.
# any: several values for one text
    def index(self, pie): ...
GET /?pie=a&pie=b -> got 2 values for pie, and takes the first: write pie: list[str]
# any: a connection of SQLite for all threads
import sqlite3
class Root(App):
    db = sqlite3.connect(':memory:', check_same_thread=False)
    async def index(self):
        self.db.close()
        return self.old()
    @hidden
    def old(self):
        raise sqlite3.ProgrammingError('SQLite objects created in a thread can only be used in')
GET / -> Open the connection for each request, in a function below @app.provides(Connection).
# any: a method that is not called
    def index(self): return self.render
GET / -> Write the parentheses: return self.render(...), not self.render.
# any: a loop over an async generator
    async def index(self): return [one for one in self._rows()]
    async def _rows(self): yield 1
GET / -> Write async for, in an async def.
# any: a status and a number
    def index(self): return 201, 1
GET / -> returned (201, 1), which is sent as a JSON list with status 200: if 201 should be the status, write Response(1,
"""


def modules() -> Iterator[Any]:
    """Return a test's parameters for each: the code, the request and the words."""
    for one in re.split(r"^# ", MODULES, flags=re.MULTILINE)[1:]:
        name, *lines, last = one.splitlines()
        request_line, _, words = last.partition("-> ")
        code = "\n".join(["class Root(App):"] * lines[0].startswith(" ") + lines)
        yield pytest.param(code, request_line.strip(), words, id=name)
    for name, *values in CALLS:
        yield pytest.param(*values, id=name)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(("code", "request_line", "words"), [*modules()])
def test_idioms_of_other_frameworks_are_explained(
    connect: MakeClient,
    world: str,
    caplog: pytest.LogCaptureFixture,
    code: str,
    request_line: str,
    words: str,
) -> None:
    method, _, path = request_line.partition(" ")
    names: dict[str, Any] = {
        "__name__": __name__,
        "functools": functools,
        "dataclasses": dataclasses,
        "io": io,
        "Path": Path,
        "Annotated": Annotated,
    }
    told = ""
    caplog.set_level(logging.INFO)
    warn_of_format.cache_clear()
    warn_of_dict.cache_clear()
    try:
        exec(f"{IMPORTS}\n{code}", names)
        is_asgi = method in ("WS", "ASYNC")
        app, where = names["Root"](debug=True), "asyncio" if is_asgi else world
        client = connect(app, where, raise_app_exceptions=False)
        if method == "WS":
            with suppress(WebSocketClosed), client.websocket(path) as socket:
                socket.receive_text()
        else:
            assert words not in client.request(method.replace("ASYNC", "GET"), path).text
    except (
        ImportError,
        AttributeError,
        TypeError,
        ValueError,
        SetupError,
        SystemExit,
        LifespanFailed,
        httpx.RemoteProtocolError,
    ) as error:
        told = str(error)
    logged = "".join(logging.Formatter().format(one) for one in caplog.records)
    assert words in told + logged


IMPORTS = """
from micropie import *
from micropie import static_file, template
from micropie.middleware import CORSMiddleware
"""
