"""Idioms of other frameworks: ``MODULES`` has code that their users write, and the hint that says
what to write here. It comes before the first request where it can, and with its response otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
import pytest

from micropie import (
    SetupError,
)
from micropie._core.streams.events import warn_of_dict, warn_of_format
from micropie.testing import LifespanFailed, WebSocketClosed
from tests.conftest import MakeClient

# Each is a module as a user of another framework writes it: where the habit is from, the code, the
# first request, and what is told before it or with its answer.
MODULES = [
    ("FastAPI: APIRouter", "from micropie import APIRouter", "", "write class Pies(App)"),
    ("FastAPI: Depends", "from micropie import App, Depends", "", "@app.provides(Db)"),
    ("FastAPI: HTTPException", "from micropie import HTTPException", "", "raise HTTPError(404)"),
    ("FastAPI: File", "from micropie import File", "", "write a parameter pie: UploadFile"),
    ("FastAPI: Path", "from micropie import Path", "", "write a parameter number: int, which"),
    ("Flask: jsonify", "from micropie import jsonify", "", 'write return {"name": "apple"}'),
    ("Flask: Blueprint", "App().register_blueprint(App())", "", 'app.mount("/prefix", other)'),
    ("Bottle: merge", "App().merge(App())", "", 'write app.mount("/prefix", other)'),
    ("Bottle: install", "App().install(len)", "", "write app.middlewares.append(hook)"),
    (
        "Starlette: add_middleware",
        "App().add_middleware(CORSMiddleware, allow_origins=['*'])",
        "",
        "write app.middlewares.append(hook)",
    ),
    (
        "Starlette: arguments of CORSMiddleware",
        "CORSMiddleware(allow_origins=['*'])",
        "",
        "CORSMiddleware takes no allow_origins: write origins=...",
    ),
    (
        "FastAPI: exception_handler",
        "App().exception_handler(KeyError)",
        "",
        "write @app.error(404) above a function",
    ),
    ("FastAPI: overrides", "App().dependency_overrides[5] = 5", "", "client.override(Db, fake)"),
    (
        "Flask: wsgi_app",
        "app = App()\napp.wsgi_app = len(app.wsgi_app)",
        "",
        "dual(Middleware(app))",
    ),
    ("Flask: run(debug=True)", "App().run(debug=True)", "", "write App(debug=True)"),
    ("Flask: run(threaded=True)", "App().run(threaded=True)", "", "write App(threads=...)"),
    ("Bottle: run(server=)", "App().run(server='paste')", "", "there are: uvicorn, hypercorn"),
    ("Litestar: route_handlers", "App(route_handlers=[len])", "", "write a method for each"),
    (
        "Litestar: on_startup",
        "App(on_startup=[len])",
        "",
        "write lifespan=..., which has both ends",
    ),
    ("Bottle: mount(app, prefix)", "App().mount(App(), '/x')", "", 'begins with "/", such as'),
    (
        "FastAPI: braces",
        "class Root(App):\n    @get('/pies/{n}')\n    def pie(self, n: int): ...",
        "",
        "write <name> for {name}",
    ),
    (
        "Flask: <int:n>",
        "class Root(App):\n    @get('/pies/<int:n>')\n    def pie(self, n: int): ...",
        "",
        "write <n:int>",
    ),
    ("Flask: methods='POST'", "route('/x', methods='POST')", "", 'write methods=["POST"]'),
    ("Bottle: method=", "route('/x', method='POST')", "", 'in a list, methods=["POST"]'),
    ("Bottle: app.route(method=)", "App().route('/x', method='PUT')", "", "its methods in a list"),
    ("FastAPI: tags=", "App().get('/x', tags=['pies'])", "", "write @describe(...) below it"),
    ("Litestar: guards=", "get('/x', guards=[len])", "", "write @requires(check) below it"),
    (
        "FastAPI: Query(gt=0)",
        "Annotated[int, Query(gt=0)]",
        "",
        "Annotated[..., Query(), Meta(gt=0)]",
    ),
    (
        "FastAPI: Query(regex=)",
        "Annotated[str, Query(regex='a+')]",
        "",
        "write Annotated[..., Query(), Meta(pattern='a+')], with Meta of msgspec",
    ),
    ("FastAPI: Query(1)", "n: int = Query(1)", "", "a default stands behind the annotation"),
    ("FastAPI: Body(embed=True)", "Body(embed=True)", "", "a class with the fields"),
    ("FastAPI: Header(alias=)", "Header(alias='X-A')", "", 'write Header("X-Name")'),
    (
        "FastAPI: BackgroundTasks",
        "from starlette.background import BackgroundTasks\n"
        "class Root(App):\n    def index(self, tasks: BackgroundTasks): ...",
        "GET /",
        "'tasks': BackgroundTasks of starlette fills no parameter: write request.after_response(",
    ),
    *(
        (
            f"FastAPI: {written}",
            f"import fastapi\nclass Root(App):\n    def index(self, one: {written}): ...",
            "GET /",
            f"parameter 'one': {name} fills no parameter: write {advice}",
        )
        for written, name, advice in [
            ("Annotated[str, fastapi.Depends(len)]", "Depends of fastapi", "db: Db, the type of"),
            ("fastapi.Depends(len)", "Depends of fastapi", "db: Db, the type of a resource, and"),
            ("str = fastapi.Security(len)", "Security of fastapi", "db: Db, the type of"),
            ("Annotated[str, fastapi.Query()]", "Query of fastapi", "the one of micropie"),
            ("Annotated[str | None, fastapi.Header()]", "Header of fastapi", "the one of micropie"),
            ("str = fastapi.Cookie(None)", "Cookie of fastapi", "the one of micropie"),
            ("str = fastapi.Form()", "Form of fastapi", "the one of micropie"),
            ("Annotated[dict, fastapi.Body()]", "Body of fastapi", "the one of micropie"),
            ("int = fastapi.Path()", "Path of fastapi", "number: int, which <number:int> in"),
            ("bytes = fastapi.File()", "File of fastapi", "pie: UploadFile, of micropie"),
            ("fastapi.UploadFile", "UploadFile of fastapi", "the one of micropie"),
            ("fastapi.Request", "Request of starlette", "the one of micropie"),
            ("fastapi.Response", "Response of starlette", "self.response in the handler"),
            ("fastapi.WebSocket", "WebSocket of starlette", "@websocket above the handler"),
            ("fastapi.BackgroundTasks", "BackgroundTasks of fastapi", "request.after_response("),
        ]
    ),
    *(
        (
            f"raised: {raised}",
            f"import {raised.partition('.')[0]}\nfrom django import http\n"
            "from django.core import exceptions\nimport werkzeug.exceptions\n"
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
    ("any: a keyword that no framework has", "route('/x', colour=1)", "", "takes no colour"),
    (
        "Flask: no self",
        "class Root(App):\n    @get\n    def about(): ...",
        "GET /about",
        "write def about(self)",
    ),
    (
        "Bottle: no self, but a wildcard",
        "class Root(App):\n    @get('/pies/<n>')\n    def pie(n): ...",
        "GET /pies/1",
        "no parameter 'n': write self before it",
    ),
    (
        "FastAPI: an upload by GET",
        "class Root(App):\n    @get\n    def pie(self, file: UploadFile): ...",
        "GET /pie",
        "'file' takes a file, but a GET has no body: write @post above it",
    ),
    (
        "Django: middleware as text",
        "class Root(App):\n    middlewares = ['shop.Timing']",
        "GET /",
        "'shop.Timing' is not middleware: append an object with before_request",
    ),
    (
        "Django: middleware that takes get_response",
        "def timing(get_response):\n    return get_response\n"
        "class Root(App):\n    middlewares = [timing]",
        "GET /",
        "or a generator function, def or async def, with one yield",
    ),
    (
        "Flask: after_request(response)",
        "class Hook(HttpMiddleware):\n    def after_request(self, response): ...\n"
        "class Root(App):\n    middlewares = [Hook()]",
        "GET /",
        "write def after_request(self, request, status, response_body, extra_headers)",
    ),
    (
        "Litestar: path of a controller",
        "class Root(App):\n    path = '/pies'",
        "GET /",
        'Root.path has no effect here: write app.mount("/path", Users())',
    ),
    (
        "Litestar: dependencies of a controller",
        "class Root(App):\n    dependencies = {'db': len}",
        "GET /",
        "write @app.provides(Db)",
    ),
    (
        "Django: urlpatterns",
        "class Root(App):\n    urlpatterns = []",
        "GET /",
        "write public methods, whose names are URLs",
    ),
    (
        "Django: ALLOWED_HOSTS",
        "class Root(App):\n    ALLOWED_HOSTS = ['*']",
        "GET /",
        'write security=SecurityDefaults("example.com")',
    ),
    (
        "Django: a view of a class",
        "class Root(App):\n    def get(self):\n        return 'x'",
        "GET /",
        'Root.get handles /get, because its name is its URL: write @get("/") above a method',
    ),
    (
        "Bottle: request.forms",
        "class Root(App):\n    def index(self):\n        return self.request.forms.get('x')",
        "GET /",
        'Write request.form["name"].',
    ),
    (
        "CherryPy: request.params",
        "class Root(App):\n    def index(self):\n        return self.request.params['x']",
        "GET /",
        "Write request.query or request.form.",
    ),
    (
        "Django: request.META",
        "class Root(App):\n    def index(self):\n        return self.request.META",
        "GET /",
        'Write request.headers["Name"].',
    ),
    (
        "Starlette: await request.form()",
        "class Root(App):\n    async def index(self):\n        return await self.request.form()",
        "GET /",
        "which take no (), don't need await: leave it out",
    ),
    (
        "Starlette: Response(content=)",
        "class Root(App):\n    def index(self):\n        return Response(content='x')",
        "GET /",
        "It takes (body=",
    ),
    (
        "Starlette: ws.iter_text()",
        "class Root(App):\n    async def ws_chat(self, ws):\n"
        "        await ws.accept()\n        ws.iter_text()",
        "WS /chat",
        "Write async for message in ws",
    ),
    (
        "Starlette: app.state.db that nothing has set",
        "class Root(App):\n    def index(self):\n        return self.request.app.state.db",
        "GET /",
        "set it first, app.state.db = ...",
    ),
    (
        "Flask: session.permanent",
        "class Root(App):\n    def index(self):\n        self.request.session.permanent = True",
        "GET /",
        'A session is a dict: session["name"].',
    ),
    (
        "Flask: render_template",
        "class Root(App):\n    def index(self):\n        return self.render_template('a.html')",
        "GET /",
        'write self.render("page.html", name="value")',
    ),
    (
        "Django: render(request, ...)",
        "class Root(App):\n    def index(self):\n"
        "        return self.render(self.request, 'a.html', {})",
        "GET /",
        "Leave the request out: render(",
    ),
    (
        "Django: {% csrf_token %}",
        "class Root(App):\n    def index(self):\n        return template(source='{% csrf_token %}')",
        "GET /",
        "Write {{ csrf_input }} in the form.",
    ),
    (
        "Django: {% url %}",
        "class Root(App):\n    def index(self):\n        return template(source='{% url \"a\" %}')",
        "GET /",
        "Write {{ url_for('name', 5) }}.",
    ),
    (
        "CherryPy: raise self.redirect",
        "class Root(App):\n    def index(self):\n        raise self.redirect('/x')",
        "GET /",
        'write Redirect("/pies")',
    ),
    (
        "Bottle: set_cookie(secret=)",
        "class Root(App):\n    def index(self):\n"
        "        self.response.set_cookie('a', 'b', secret='k')",
        "GET /",
        'Write request.set_signed_cookie("name", value)',
    ),
    (
        "Flask: an open file",
        "class Root(App):\n    def index(self):\n        return io.StringIO('x')",
        "GET /",
        "index returned StringIO, which is sent as text: write static_file(",
    ),
    (
        "Flask: a path",
        "class Root(App):\n    def index(self):\n        return Path('x.pdf')",
        "GET /",
        "Path, which is sent as text: write static_file(",
    ),
    (
        "any: a class for the server",
        "class Root(App): ...\nRoot({'wsgi.version': (1, 0)}, len)",
        "",
        "write app = Root()",
    ),
    (
        "any: no await in a dict",
        "class Root(App):\n    def index(self):\n        return {'a': later()}\n"
        "async def later(): ...",
        "GET /",
        "write await in front of the call",
    ),
    (
        "FastAPI: Query() as a default",
        "class Root(App):\n    def index(self, n: int = Query()): ...",
        "GET /",
        "Query() is not a default: write n: Annotated[..., Query()]",
    ),
    (
        "FastAPI: Header(None) as a default",
        "class Root(App):\n    def index(self, n: str | None = Header(None)): ...",
        "GET /",
        "Header() is not a default",
    ),
    (
        "FastAPI: response as a parameter",
        "class Root(App):\n    def index(self, response: Response): ...",
        "GET /",
        "Response of micropie fills no parameter: write self.response in the handler",
    ),
    (
        "FastAPI: a socket in a handler",
        "class Root(App):\n    async def chat(self, ws: WebSocket): ...",
        "GET /chat",
        "WebSocket of micropie fills no parameter: write @websocket above the handler",
    ),
    (
        "Express: req and res",
        "class Root(App):\n    def index(self, req, res): ...",
        "GET /",
        "write req: Request, or req: str if the query has it",
    ),
    (
        "Django: response",
        "class Root(App):\n    def index(self, response): ...",
        "GET /",
        "write self.response in the handler, or response: str if the query has it",
    ),
    (
        "any: a number's default as text",
        "class Root(App):\n    def index(self, page: int | None = '1'): ...",
        "GET /",
        "its default is text: write page: str, or make it int",
    ),
    (
        "any: an empty text for no number",
        "class Root(App):\n    def index(self, page: int = ''): ...",
        "GET /",
        "its default is text: write page: str, or make it int",
    ),
    (
        "any: a text as a number's default",
        "class Root(App):\n    def index(self, page: int = 'a'): ...",
        "GET /",
        "its default is text: write page: str, or",
    ),
    (
        "Flask: decorators of a view",
        "class Root(App):\n    decorators = [len]",
        "GET /",
        "Root.decorators has no effect here: write @requires(check) above the class",
    ),
    (
        "Django REST framework: authentication_classes",
        "class Root(App):\n    authentication_classes = (len,)",
        "GET /",
        "write @requires(check) above the class",
    ),
    (
        "Litestar: middleware of a controller",
        "class Root(App):\n    middleware = [len]",
        "GET /",
        "Root.middleware has no effect here: write middlewares = [...]",
    ),
    (
        "FastAPI: prefix of a router",
        "class Root(App):\n    prefix = '/pies'",
        "GET /",
        'Root.prefix has no effect here: write app.mount("/path", Users())',
    ),
    (
        "Starlette: state in the class",
        "class Root(App):\n    state = {'db': 5}",
        "GET /",
        "Root.state has no effect here: write self.state.name = ...",
    ),
    (
        "Flask: a method before_request",
        "class Root(App):\n    def before_request(self): ...",
        "GET /",
        "Root.before_request is a page: write a class with this method, in middlewares",
    ),
    (
        "Litestar: a method on_startup",
        "class Root(App):\n    async def on_startup(self): ...",
        "GET /",
        "Root.on_startup is a page: write the code to run then in a method lifespan",
    ),
    (
        "Flask: a cache above a page",
        "class Root(App):\n    @functools.cache\n    def mine(self):\n"
        "        return self.request.query.get('name')",
        "GET /mine",
        "Root.mine: the cache above it gives every client the response of the first one",
    ),
    (
        "any: a cache above async def",
        "class Root(App):\n    @functools.lru_cache(5)\n    async def mine(self): ...",
        "GET /mine",
        "write the cache above a function that the handler calls",
    ),
    (
        "any: a cache above a generator",
        "class Root(App):\n    @functools.cache\n    def mine(self):\n        yield 'a'",
        "GET /mine",
        "write the cache above a function that the handler calls",
    ),
    (
        "any: a property",
        "class Root(App):\n    @property\n    def about(self):\n        raise LookupError",
        "GET /about",
        "Root.about is not a page but a property: write a method, def about(self)",
    ),
    (
        "any: a property of an inner application",
        "class Shop(App):\n    @functools.cached_property\n    def about(self): ...\n"
        "class Root(App):\n    shop = Shop()",
        "GET /shop/about/5",
        "Shop.about is not a page but a cached_property",
    ),
    (
        "any: a class in a class",
        "class Root(App):\n    class Shop(App): ...",
        "GET /Shop",
        "Root.Shop is a class, so it has no routes: write Shop = Shop()",
    ),
    (
        "any: a class beside its application",
        "class Shop(App): ...\nclass Root(App):\n    kind = Shop\n    shop = Shop()",
        "GET /kind",
        "Root.kind is not a page but a class: write kind = Shop(), an object",
    ),
    (
        "any: applications in a dict",
        "class Root(App):\n    shops = {'first': App()}",
        "GET /shops/first",
        "Root.shops is not a page but a dict",
    ),
    (
        "any: no decorator where one is wanted",
        "class Root(App):\n    def about(self): ...\n"
        "    def __init__(self, **settings):\n        super().__init__(expose='explicit', **settings)",
        "GET /about",
        "Root.about is not a page but a function: write @get above it",
    ),
    ("Django: a regular expression", r"get(r'^pies/(?P<n>\d+)$')", "", "is a regular expression"),
    ("Flask: a query in a route", "get('/pies?n=<n>')", "", "has a query: leave it out"),
    ("Express: an asterisk", "get('/files/*')", "", "write <name:path> for all that follows"),
    ("any: a host in a route", "get('http://x.org/pies')", "", "write its path alone, '/pies'"),
    (
        "Flask: a body and headers in a list",
        "class Root(App):\n    def index(self):\n        return 'x', [('X-A', 'b')]",
        "GET /",
        "write the status first, return 200, body, headers",
    ),
    (
        "Django: process_request",
        "class Auth(HttpMiddleware):\n    def process_request(self, request): ...",
        "",
        "Auth.process_request is not a hook: write before_request(self, request)",
    ),
    (
        "any: a decorator without functools.wraps",
        "def logged(function):\n    def wrapper(self, *args, **kwargs):\n"
        "        return function(self, *args, **kwargs)\n    return wrapper\n"
        "class Root(App):\n    @logged\n    def show(self, number: int): ...",
        "GET /",
        "write @functools.wraps(function) above wrapper",
    ),
    (
        "any: a resource without an annotation",
        "class Db: ...\nclass Root(App):\n    def index(self, db): ...\n"
        "    def __init__(self, **settings):\n        super().__init__(**settings)\n"
        "        self.provides(Db)(Db)",
        "GET /",
        "Root.index takes db from the query, because it has no annotation: write db: Db",
    ),
    (
        "any: a number without an annotation",
        "class Root(App):\n    def index(self, name: str = '', page=1):\n        return page + 1",
        "GET /?page=2",
        "Without an annotation, page is text: write page: int",
    ),
    (
        "any: a method that is awaited",
        "class Root(App):\n    async def index(self):\n        return await self.request.body",
        "ASYNC /",
        "Call the method first: await request.body().",
    ),
    (
        "Flask: json.dumps",
        "import json\nclass Root(App):\n    def index(self):\n        return json.dumps({'a': 1})",
        "GET /",
        "returned JSON as text, which is sent as text: return the dict or the list itself",
    ),
    (
        "Flask: events written out",
        "class Root(App):\n    def index(self):\n"
        "        return EventStream(f'data: {n}\\n\\n' for n in (1, 2))",
        "GET /",
        "yield the data alone, or event(data)",
    ),
    ("any: a list of responses", "describe(responses=[409])", "", 'takes a dict: {409: "'),
    ("any: a tag", "describe(tags='pies')", "", 'tags is a list: write tags=["pies"]'),
    (
        "Flask: body, headers, status",
        "class Root(App):\n    def index(self):\n        return 'x', {'X-A': 'b'}, 201",
        "GET /",
        "write the status first, return 200, body, headers",
    ),
    (
        "Flask: request.remote_addr",
        "class Root(App):\n    def index(self):\n        return self.request.remote_addr",
        "GET /",
        "Write request.client.host, if request.client is not None (a UNIX socket).",
    ),
    (
        "Flask: response.mimetype",
        "class Root(App):\n    def index(self):\n        self.response.mimetype = 'text/csv'",
        "GET /",
        'Write response.content_type = "text/csv".',
    ),
    (
        "Express: res.json",
        "class Root(App):\n    def index(self):\n        return self.response.json({'a': 1})",
        "GET /",
        "Write return and the body.",
    ),
    (
        "Express: res.redirect",
        "class Root(App):\n    def index(self):\n        return self.response.redirect('/x')",
        "GET /",
        'Write return Redirect("/pies").',
    ),
    (
        "any: asyncio.run() in async def",
        "import asyncio\nclass Root(App):\n    async def index(self):\n"
        "        asyncio.run(asyncio.sleep(0))",
        "ASYNC /",
        "Write await in front of the call.",
    ),
    (
        "any: a task of a def handler",
        "import asyncio\nclass Root(App):\n    def index(self):\n        asyncio.create_task(None)",
        "GET /",
        "A def handler runs in a thread: write async def",
    ),
    (
        "Django: flash(level, text)",
        "class Root(App):\n    def index(self):\n        flash('success', 'The pie is saved.')",
        "GET /",
        "the text comes first: write flash(text, category)",
    ),
    (
        "Django: flash(request, text)",
        "class Root(App):\n    def index(self):\n        flash(self.request, 'saved')",
        "GET /",
        "the text comes first: write flash(text, category)",
    ),
    (
        "any: rows of a stream",
        "class Root(App):\n    def index(self):\n        yield {'n': 1}",
        "GET /",
        "not dict: write yield json.dumps(...), or return a list of all",
    ),
    (
        "Starlette: on_startup",
        "class Root(App):\n    on_startup = [print]",
        "GET /",
        "Root.on_startup has no effect here: write the code to run then in a method lifespan",
    ),
    (
        "Starlette: app.on_startup = ...",
        "class Root(App):\n    def __init__(self, **settings):\n        super().__init__(**settings)\n"
        "        self.on_startup = [print]",
        "GET /",
        "Root.on_startup has no effect here: write the code to run then in a method lifespan",
    ),
    (
        "Sanic: @app.on_startup",
        "class Root(App): ...\nRoot().on_startup(print)",
        "GET /",
        "write App(lifespan=...)",
    ),
    (
        "CherryPy: url_for of a method",
        "class Root(App):\n    def index(self):\n        return self.url_for(self.index)",
        "GET /",
        "a route has a name: write url_for('index')",
    ),
    (
        "Flask: a route that is none",
        "class Root(App):\n    def index(self):\n        return self.url_for('other')",
        "GET /",
        "there is no route named 'other'; there are: index",
    ),
    (
        "Flask: static files without their directory",
        "class Root(App):\n    def index(self):\n        return self.static_url('site.css')",
        "GET /",
        'there are: index; write app.static("/static", "static")',
    ),
    (
        "any: a function in the place of its events",
        "class Root(App):\n    def index(self):\n        return EventStream(self._ticks)\n"
        "    def _ticks(self): ...",
        "GET /",
        ": write _ticks()",
    ),
    (
        "any: a status that the annotation lacks",
        "from typing import Literal\nclass Root(App):\n"
        "    def index(self) -> tuple[Literal[201], str]:\n        return 200, 'x'",
        "GET /",
        "returned status 200: write Literal[200] in the annotation",
    ),
    (
        "Django: Redirect(permanent=True)",
        "class Root(App):\n    def index(self):\n        return Redirect('/', permanent=True)",
        "GET /",
        "It takes (location, status=303, ",
    ),
    (
        "Django: response[...]",
        "class Root(App):\n    def index(self):\n        self.response['X-A'] = '1'",
        "GET /",
        "Write response.headers[...].",
    ),
    (
        "websockets: ws.recv()",
        "class Root(App):\n    async def ws_chat(self, ws):\n        await ws.accept()\n"
        "        await ws.recv()",
        "WS /chat",
        "Write async for message in ws, await ws.receive_text()",
    ),
    (
        "websockets: for message in ws",
        "class Root(App):\n    async def ws_chat(self, ws):\n        await ws.accept()\n"
        "        for message in ws: ...",
        "WS /chat",
        "Write async for message in ws.",
    ),
    (
        "async for chunk in request.chunks()",
        "class Root(App):\n    async def index(self):\n"
        "        async for chunk in self.request.chunks(): ...",
        "GET /",
        "For chunks() in an async def write async for chunk in request.stream().",
    ),
    (
        "Sanic: feed(request, ws)",
        "class Root(App):\n    @websocket('/feed')\n    async def feed(self, request, ws): ...",
        "WS /feed",
        "write ws as the first parameter of async def ws_name, or below @websocket",
    ),
    (
        "Flask: an error handler without return",
        "class Root(App):\n    def __init__(self, **settings):\n        super().__init__(**settings)\n"
        "        self.error(404)(lambda error: None)",
        "GET /x",
        "the error handler returned nothing, so the response is empty: write return",
    ),
    (
        "Flask: the whole path of a file",
        "class Root(App):\n    def index(self):\n"
        "        return static_file('/srv/pies.csv', root='/srv')",
        "GET /",
        "there is no file '/srv/pies.csv' in '/srv'",
    ),
    (
        "Django: request.GET in a template",
        "class Root(App):\n    def index(self):\n"
        "        return template(source='{{ request.GET.page }}')",
        "GET /",
        'Write request.query["name"].',
    ),
    (
        "Django: a method in a template",
        "class Root(App):\n    def index(self):\n"
        "        return template(source='{% for k, v in d.items %}{% endfor %}', d={})",
        "GET /",
        "Call the method first, in a template as well: d.items().",
    ),
    (
        "Django: a filter with a colon",
        "class Root(App):\n    def index(self):\n"
        """        return template(source='{{ d|date:"Y" }}', d={})""",
        "GET /",
        "arguments of a filter in parentheses",
    ),
    (
        "any: a name that a template misspells",
        "class Root(App):\n    def index(self):\n        return template(source='{{ nmae }}')",
        "GET /",
        "'nmae' is undefined",
    ),
    (
        "OpenAPI: a status in quotes",
        "class Root(App):\n    @get\n    @describe(responses={'404': 'No pie.'})\n"
        "    def index(self): ...",
        "GET /",
        "describe takes statuses from 200 to 599, not '404': leave the quotes out",
    ),
    (
        "Django: a status in quotes",
        "class Root(App): ...\nRoot().error('404')",
        "GET /",
        "not '404': leave the quotes out",
    ),
    (
        "Flask: a hook that returns a redirect",
        "from micropie.middleware import HttpMiddleware\nclass Asks(HttpMiddleware):\n"
        "    def before_request(self, request):\n        return Redirect('/log-in')\n"
        "class Root(App):\n    middlewares = [Asks()]\n    def index(self): ...",
        "GET /",
        "to send another response, raise it: raise Redirect(...)",
    ),
    (
        "FastAPI: return 204",
        "class Root(App):\n    def index(self):\n        return 204",
        "GET /",
        "returned 204, sent as a JSON number with status 200: write return 204, None",
    ),
    (
        "Django: a redirect by name",
        "class Root(App):\n    def index(self):\n        return Redirect('login')",
        "GET /",
        "redirects to 'login', which is relative to it: write url_for(...), or '/login'",
    ),
    (
        "any: the errors of a form without annotation",
        "class Root(App):\n    def index(self, errors): ...",
        "GET /",
        "Root.index takes errors from the query, because it has no annotation: write errors: BindingErrors",
    ),
    (
        "aiohttp: session as a parameter",
        "class Root(App):\n    def index(self, session): ...",
        "GET /",
        "write self.request.session in the handler",
    ),
    (
        "FastAPI: a function as an annotation",
        "def current(request): ...\nclass Root(App):\n    def index(self, user: current): ...",
        "GET /",
        "or Annotated[..., current] if the function provides the value",
    ),
    (
        "any: a built-in function as an annotation",
        "class Root(App):\n    def index(self, user: any): ...",
        "GET /",
        "it is annotated with a function: write a type, as Any for any value",
    ),
    (
        "FastAPI: keywords for a task",
        "class Root(App):\n    def index(self):\n        self.request.after_response(print, to='x')",
        "GET /",
        "It takes (function, /, *arguments).",
    ),
    (
        "Flask: set_cookie(expires_in=)",
        "class Root(App):\n    def index(self):\n        self.response.set_cookie('a', 'b', expires_in=5)",
        "GET /",
        "It takes (name, value, *, max_age=None, expires=None, ",
    ),
    (
        "any: an argument that Response lacks",
        "class Root(App):\n    def index(self):\n        return Response('x', type='text')",
        "GET /",
        "It takes (body=None, status=200, headers=(), content_type=None).",
    ),
    (
        "any: static_file without root",
        "class Root(App):\n    def index(self):\n        return static_file('x')",
        "GET /",
        "It takes (path, root, download=None",
    ),
    (
        "any: an argument of the author's own function",
        "def bake(kind): ...\nclass Root(App):\n    def index(self):\n        return bake()",
        "GET /",
        "bake() missing 1 required positional argument: 'kind'",
    ),
    (
        "any: a misspelt attribute",
        "class Root(App):\n    def index(self):\n        return self.request.heders",
        "GET /",
        "Did you mean headers?",
    ),
    (
        "any: an attribute of nothing",
        "class Root(App):\n    def index(self):\n        return self.response.xyzzy",
        "GET /",
        "It has body, content_type, delete_cookie, ",
    ),
    (
        "Starlette: client.websocket_connect",
        "from micropie.testing import TestClient\nTestClient(App()).websocket_connect('/')",
        "GET /",
        'TestClient has no websocket_connect: write client.websocket("/chat")',
    ),
    (
        "any: what no client has",
        "from micropie.testing import TestClient\nTestClient(App()).xyzzy",
        "GET /",
        "'TestClient' object has no attribute 'xyzzy'",
    ),
    (
        "any: provides without the type",
        "class Root(App): ...\n@Root().provides\ndef db(): ...",
        "GET /",
        "write @app.provides(Session) above a function",
    ),
    (
        "Flask: url_for('static')",
        "class Root(App):\n    def __init__(self, **settings):\n        super().__init__(**settings)\n        self.static('/static', 'docs')\n    def index(self):\n        return self.url_for('static', filename='x')",
        "GET /",
        "url_for('static') takes path=...; write static_url(...)",
    ),
    (
        "Django: a duration for a session",
        "import datetime\nApp(session_timeout=datetime.timedelta(days=7))",
        "GET /",
        "takes a whole number of seconds, 1 or more",
    ),
    (
        "Flask: query.get(type=int)",
        "class Root(App):\n    def index(self):\n        return self.request.query.get('page', type=int)",
        "GET /",
        "A parameter converts a value: def pies(self, page: int = 1).",
    ),
    (
        "CherryPy: response.body = ...",
        "class Root(App):\n    def index(self):\n        self.response.body = 'x'",
        "GET /",
        "index returned nothing, so the response is empty: write return",
    ),
    (
        "any: a header that no client has sent",
        "class Root(App):\n    def index(self):\n        return self.request.headers['X-Pie']",
        "GET /",
        "The client sent no 'X-Pie': write .get('X-Pie')",
    ),
    (
        "any: a WebSocket that returns",
        "class Root(App):\n    async def ws_chat(self, ws):\n        await ws.accept()\n        return {'a': 1}",
        "WS /chat",
        "the handler returned dict, which is discarded: await ws.send_json(...)",
    ),
    (
        "any: an argument of an event in a stream",
        "class Root(App):\n    def index(self):\n        return EventStream(self._ticks())\n    def _ticks(self):\n        yield 'x'\n        yield event('x', name='tick')",
        "GET /",
        "It takes (data, event=None, id=None, retry=None).",
    ),
    (
        "FastAPI: an optional parameter without default",
        "class Root(App):\n    def index(self, q: str | None): ...",
        "GET /",
        "It may be missing if you write q: ... = None.",
    ),
    (
        "FastAPI: errors that nobody asks for",
        "Post = dataclasses.make_dataclass('Post', [('title', str)])\nclass Root(App):\n    @post\n    def index(self, errors: BindingErrors, post: Post):\n        return post.title",
        "POST /",
        "A value that was invalid is None: begin with",
    ),
    (
        "any: None without errors",
        "class Db:\n    pie = None\nclass Root(App):\n    def index(self):\n        return Db.pie.title",
        "GET /",
        "'NoneType' object has no attribute 'title'",
    ),
    (
        "any: a coroutine for a template",
        "class Root(App):\n    async def _load(self): ...\n    def index(self):\n        return template(source='{{ pies }}', pies=self._load())",
        "GET /",
        "pies is a coroutine: write await in front of the call",
    ),
    (
        "any: SecurityDefaults as middleware",
        "from micropie.middleware import SecurityDefaults\nclass Root(App):\n    middlewares = [SecurityDefaults('example.com')]",
        "GET /",
        "write App(security=SecurityDefaults(...))",
    ),
    (
        "pytest: a provider that yields nothing",
        "class Db: ...\nclass Root(App):\n    def index(self, db: Db): ...\n    def __init__(self, **settings):\n        super().__init__(**settings)\n        self.provides(Db)(self._db)\n    def _db(self):\n        yield",
        "GET /",
        "yielded nothing: write yield db, or -> Iterator[None] if that is intended",
    ),
    (
        "Starlette: a resource without with",
        "class Db: ...\nclass Root(App):\n    def index(self):\n        return self.request.resource(Db).execute\n    def __init__(self, **settings):\n        super().__init__(**settings)\n        self.provides(Db)(Db)",
        "GET /",
        "A resource is opened by with request.resource(Db) as db",
    ),
    (
        "Python: html with %s",
        "class Root(App):\n    def index(self):\n        return html('<p>%s</p>', 'plum')",
        "GET /",
        "html() has no place for its values: write {} instead of %s",
    ),
    (
        "Python: html with a name",
        "class Root(App):\n    def index(self):\n        return html('<p>{name}</p>', 'plum')",
        "GET /",
        "html() has no value for {name}",
    ),
    (
        "Python: html with a number",
        "class Root(App):\n    def index(self):\n        return html('<p>{1}</p>', 'plum')",
        "GET /",
        "html() has no value for {1}",
    ),
    (
        "Django: client.login with a password",
        "from micropie.testing import TestClient\nTestClient(App()).login(username='ann', password='x')",
        "GET /",
        "write client.login(user=...)",
    ),
    (
        "Flask: an image as bytes",
        "class Root(App):\n    def index(self):\n        return b'\\x89PNG'",
        "GET /",
        "returned bytes that aren't text but are sent as text/html",
    ),
    (
        "Flask: a redirect by its status",
        "class Root(App):\n    def index(self):\n        return 302, '/login'",
        "GET /",
        'sends 302 without a Location: write Redirect("/pies", status=302)',
    ),
    (
        "Bottle: a redirect by response.status",
        "class Root(App):\n    def index(self):\n        self.response.status = 303\n        return '/login'",
        "GET /",
        "sends 303 without a Location",
    ),
    (
        "PHP: a name with brackets",
        "class Root(App):\n    def index(self, pie: str = ''): ...",
        "GET /?pie[]=plum",
        "has 'pie[]', and the parameter is 'pie': write pie: Annotated[..., Form('pie[]')] or Query",
    ),
    (
        "JavaScript: a name in another style",
        "class Root(App):\n    def index(self, user_name: str): ...",
        "GET /?userName=plum",
        "has 'userName', and the parameter is 'user_name'",
    ),
    (
        "any: an attribute that hides a page",
        "class Root(App):\n    def pies(self): ...\n    def __init__(self, **settings):\n        super().__init__(**settings)\n        self.pies = []",
        "GET /",
        "Root.pies is hidden by the attribute self.pies",
    ),
    (
        "any: an address with a mistake",
        "class Root(App):\n    def cherry(self): ...",
        "GET /chery",
        "no route matches '/chery': did you mean /cherry?",
    ),
    (
        "any: expires in seconds",
        "class Root(App):\n    def index(self):\n        self.response.set_cookie('a', 'b', expires=3600)",
        "GET /",
        "expires must be a datetime, not 3600: write max_age for seconds",
    ),
    (
        "any: an async function in a template",
        "class Root(App):\n    async def _count(self): ...\n    def index(self):\n        return template(source='{{ count() }}', count=self._count)",
        "GET /",
        "a coroutine can't be shown: write return await self.render_async(...)",
    ),
    (
        "sse-starlette: events as dicts",
        "class Root(App):\n    def index(self):\n        return EventStream([{'event': 'tick', 'data': '1'}])",
        "GET /",
        "an event source yields a dict of an event's fields, which is sent as data",
    ),
    (
        "Django: a setting in the class",
        "class Root(App):\n    templates = 'views'",
        "GET /",
        "Root.templates is not a setting: write Root(templates=...)",
    ),
    (
        "Bottle: methods in the class",
        "class Root(App):\n    methods = ['GET']",
        "GET /",
        "Root.methods is not a setting: write Root(methods=...)",
    ),
    (
        "CherryPy: a tree of plain objects",
        "class Shop:\n    def index(self): ...\nclass Root(App):\n    shop = Shop()",
        "GET /",
        "Root.shop is a Shop but not an App, so nothing handles /shop: write class Shop(App)",
    ),
    (
        "Django: a middleware class without hooks",
        "class Timing:\n    def __init__(self, get_response): ...\nclass Root(App):\n    middlewares = [Timing]",
        "GET /",
        "is not middleware: append an object with before_request",
    ),
    (
        "Bottle: an error handler that takes the request",
        "class Root(App):\n    def index(self): ...\n    def __init__(self, **settings):\n        super().__init__(**settings)\n        self.error(404)(lambda failed: failed.path)",
        "GET /x",
        "An error handler takes the request as a parameter: def missing(request, error).",
    ),
    (
        "CherryPy: an upload whose form is none",
        "class Root(App):\n    def index(self, pie=''):\n        return pie.filename",
        "GET /?pie=a.png",
        'A file needs a form with enctype="multipart/form-data": write pie: UploadFile.',
    ),
    (
        "CherryPy: an object that is no page",
        "class Clock: ...\nclass Root(App):\n    clock = Clock()",
        "GET /clock",
        "Root.clock is not a page but a Clock: write class Clock(App)",
    ),
    (
        "FastAPI: CORS behind the log-in",
        "from micropie.middleware import BearerAuth, CSRFMiddleware\nclass Root(App):\n    middlewares = [\n        BearerAuth(lambda token: True),\n        CSRFMiddleware(),\n        CORSMiddleware(origins=['https://a.example']),\n    ]",
        "GET /",
        "Root: BearerAuth refuses the preflights of CORSMiddleware, which have no token: put CORSMiddleware before it",
    ),
    (
        "FastAPI: an override of what nobody asks for",
        "from micropie.testing import TestClient\ndef db(): ...\ndef old(): ...\nclass Root(App):\n    def index(self, db: Annotated[str, db]): ...\nTestClient(Root()).override(old, 5)",
        "GET /",
        "override(old, ...): no handler and no check uses old",
    ),
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    ("code", "request_line", "words"), [one[1:] for one in MODULES], ids=[one[0] for one in MODULES]
)
def test_what_users_of_others_write_is_told(
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
