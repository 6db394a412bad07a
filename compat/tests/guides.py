"""What the migration guides list, each line with a program that has it.

``SIDE_BY_SIDE``: the left column, which works. ``MISSING``: what ``check --from`` finds, in any of
the programs of a line. ``BY_CHECK``: the differences that it finds.
"""

from __future__ import annotations

SIDE_BY_SIDE: dict[str, list[str]] = {
    "cherrypy": [
        "@cherrypy.expose\ndef a(): pass\na.exposed = True",
        "class Root: pass\nroot = Root()\nroot.blog = Root()",
        "@cherrypy.popargs('year')\nclass A:\n    def _cp_dispatch(self, vpath): vpath.pop(0)",
        "class A:\n    exposed = True\n    def GET(self): pass\ncherrypy.dispatch.MethodDispatcher()",
        "cherrypy.tree.mount(object(), '/x', {'/': {}})",
        "cherrypy.tree.graft(Logged(wsgi), '/x')",
        "cherrypy.request.params",
        "cherrypy.request.headers, cherrypy.request.cookie, cherrypy.request.remote.ip",
        "def up(f): f.file.read(), f.filename",
        "raise cherrypy.HTTPRedirect('/a')",
        "raise cherrypy.InternalRedirect('/a')",
        "{'error_page.404': str, 'request.error_response': str}",
        "cherrypy.url('/a')",
        "cherrypy.dispatch.VirtualHost(**{'api.example.org': '/api'})",
        "{'tools.sessions.on': True}\ncherrypy.session['a'] = 1",
        "@cherrypy.tools.json_in()\n@cherrypy.tools.json_out()\ndef a(): cherrypy.request.json",
        "{'tools.staticdir.on': True}\ncherrypy.lib.static.serve_file('/a')",
        "{'tools.gzip.on': True, 'tools.auth_basic.on': True, 'tools.proxy.on': True}",
        "{'tools.caching.on': True, 'tools.expires.secs': 1, 'tools.etags.autotags': True}",
        "@cherrypy.tools.allow(methods=['GET'])\n@cherrypy.tools.accept(media='text/html')\ndef a(): pass",
        "cherrypy.tools.a = cherrypy.Tool('before_handler', str)\n{'hooks.before_handler': str}",
        "class A: _cp_config = {'tools.gzip.on': True}",
        "cherrypy.engine.subscribe('start', str)\nclass A(cherrypy.process.plugins.SimplePlugin): pass",
        "cherrypy.process.plugins.Monitor, cherrypy.process.plugins.BackgroundTask",
        "cherrypy.engine.publish('a', 1)",
        "cherrypy.quickstart",
    ],
    "bottle": [
        "bottle.Bottle(), bottle.default_app(), bottle.app.push()",
        "@bottle.route('/a/<x:int>')\n@bottle.get('/b')\ndef a(x=0): pass",
        "bottle.route('/<x:re:[a-z]+>/<y:path>'), bottle.route('/:x/:y#re#')",
        "bottle.app().router.add_filter('a', lambda config: ('a', None, None))",
        "bottle.request.query.x, bottle.request.forms.x, bottle.request.params.x",
        "bottle.request.query.getall('x')",
        "bottle.request.files['x'].save('/a')",
        "bottle.request.json",
        "bottle.request.content_type",
        "bottle.request.remote_addr, bottle.request.url, bottle.request.urlparts",
        "bottle.request.get_cookie('a', secret='s')\nbottle.response.set_cookie('a', 'b', secret='s')",
        "bottle.request.user = 1\nbottle.local.user = 1",
        "bottle.response.status = 1\nbottle.response.set_header('a', 'b')\nbottle.response.content_type",
        "bottle.abort(404, 'no')\nraise bottle.HTTPError(404)",
        "bottle.redirect('/a')",
        "bottle.template('a')\nbottle.view('a')\nbottle.SimpleTemplate('a')",
        "bottle.hook('before_request'), bottle.hook('after_request')",
        "bottle.error(404), bottle.error(500)",
        "@bottle.error(404)\ndef no(error): return error.status_code, error.body",
        "bottle.http_date(0), bottle.parse_date('a')\nraise bottle.HTTPResponse(status=304)",
        "bottle.install(print), bottle.route('/', apply=[], skip=[print])",
        "bottle.mount('/x/', bottle.Bottle()), bottle.app().merge(bottle.Bottle())",
        "bottle.auth_basic(print)\nbottle.request.auth",
        "bottle.app().config.load_config('x.ini')",
        "bottle.debug(True)\napp = bottle.app()\ndef serve(): bottle.run(server='gunicorn')",
    ],
}

MISSING: dict[str, list[list[str]]] = {
    "cherrypy": [
        ["{'wsgi.pipeline': []}", "cherrypy.Application(object()).wsgiapp.pipeline.append(1)"],
        [
            "cherrypy.wsgiserver",
            "from cherrypy import _cpnative_server",
            "cherrypy.wsgi.CPWSGIServer",
        ],
        ["{'server.socket_file': 'a'}", "cherrypy.server.ssl_context = 1"],
        ["from ws4py.server.cherrypyserver import WebSocketPlugin", "import ws4py.websocket"],
    ],
    "bottle": [
        ["bottle.CheetahTemplate", "bottle.cheetah_view('a')"],
        [],  # see test_commands: it depends on what is installed
        [
            "bottle.run(server='gevent')",
            "bottle.run(server='paste')",
            "bottle.run(server='tornado')",
        ],
    ],
}

# Imports that work: of other libraries, and of the stand-in where it is installed.
IMPORTS: dict[str, list[str]] = {
    "bottle": [
        "from math import *\nfrom bottle import *\nrequest.query.x, url, run",
        "from cheroot.wsgi import Server",
        "from paste.translogger import TransLogger",
        "try:\n    from micropie_compat import bottle\nexcept ImportError:\n    import bottle",
    ],
    "cherrypy": [
        "import cherrypy.lib.static as static, memcache, cheroot.errors",
        "from ws4py.client.threadedclient import WebSocketClient",
        "try:\n    from micropie_compat import cherrypy\nexcept ImportError:\n    import cherrypy",
    ],
}

_APP = "from micropie import App, HttpMiddleware\nclass Root(App):\n"
_HOOK = "from micropie import App, HttpMiddleware\nclass Hook(HttpMiddleware):\n"
BY_CHECK: dict[str, str] = {
    "Hooks": f"{_HOOK} def before_request(self, r): r.a = 1\n def after_request(self, r): r.a",
    "An empty field": f"{_APP} def index(self, name='Anonymous'): pass",
    "An upload": f"{_APP} def index(self, file): file.get('filename')",
    "Handlers": f"{_APP} def run(self): pass",
    "A redirect to another host": f"{_APP} def a(self): return self._redirect('https://a.example')",
    "A function assigned to an attribute": f"{_APP} pass\ndef a(): pass\napp = Root()\napp.page = a",
    "Path segments that no parameter takes": f"{_APP} def a(self): self.request.path_params[0]",
    "A hook can't choose the handler": f"{_HOOK} def before_request(self, r): r.scope['path'] = '/'",
    "MicroPie's internal methods": f"{_APP} def a(self): self._parse_cookies('a=b')",
}
