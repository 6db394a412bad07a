#!/usr/bin/env bash
# Expected: a client that has half of a file sends Range, and If-Range with the file's ETag. If the
# file has changed, it gets the whole new file with 200 (RFC 9110, section 13.1.5).
# Seen: WhiteNoise, bottle, falcon and tornado don't read If-Range. aiohttp reads a date in it, but
# ignores a tag. All five send 206 with the second half of the new file, although the condition is
# what they sent with the first half: the ETag, or Last-Modified for bottle, whose ETag has no
# quotes. Flask and WsgiDAV send 200.
# It matters for downloads that go on after a new release: browsers and download managers send
# If-Range because it protects them. Here they get a file of two halves that don't belong together.
# whitenoise 6.12.0, bottle 0.13.4, falcon 4.4.0, tornado 6.6.1, aiohttp 3.14.5, beside Flask 3.1.3
# and WsgiDAV 4.4.0; https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'whitenoise==6.12.0' 'bottle==0.13.4' \
    'falcon==4.4.0' 'tornado==6.6.1' 'aiohttp==3.14.5' 'Flask==3.1.3' 'WsgiDAV==4.4.0'
python --version
pip freeze

mkdir files
cat >program.py <<'EOF'
import asyncio
import os
import sys
import threading
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import bottle
import falcon
import flask
import tornado.web
from aiohttp import web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from whitenoise import WhiteNoise
from wsgidav.wsgidav_app import WsgiDAVApp

FOLDER = os.path.abspath("files")
OLD, NEW = b"old text, old text", b"new text, NEW TEXT"


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def write(content, time):
    with open("files/pie.txt", "wb") as file:
        file.write(content)
    os.utime("files/pie.txt", (time, time))


def wsgi_applications():
    yield "whitenoise", WhiteNoise(None, root=FOLDER, autorefresh=True)
    site = bottle.Bottle()
    site.route("/<name>")(lambda name: bottle.static_file(name, root=FOLDER))
    yield "bottle", site
    site = falcon.App()
    site.add_static_route("/", FOLDER)
    yield "falcon", site
    yield "flask", flask.Flask("pies", static_folder=FOLDER, static_url_path="/")
    users = {"user_mapping": {"*": True}}
    options = {"provider_mapping": {"/": FOLDER}, "simple_dc": users, "verbose": 1}
    yield "wsgidav", WsgiDAVApp(options)


async def start_asynchronous():
    runner = web.AppRunner(web.Application())
    runner.app.router.add_static("/", FOLDER)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    socket, port = bind_unused_port()
    handler = (r"/(.*)", tornado.web.StaticFileHandler, {"path": FOLDER})
    site = tornado.web.Application([handler], log_function=str, static_hash_cache=False)
    HTTPServer(site).add_sockets([socket])
    return {"aiohttp": runner.addresses[0][1], "tornado": port}


def resume(port):
    address = f"http://127.0.0.1:{port}/pie.txt"
    write(OLD, 1_700_000_000)
    with urlopen(address) as response:
        start, condition = response.read(9), response.headers["ETag"]
        if not condition.startswith('"'):  # isn't an entity tag
            condition = response.headers["Last-Modified"]
    write(NEW, 1_700_000_100)
    headers = {"Range": "bytes=9-", "If-Range": condition}
    with urlopen(Request(address, headers=headers)) as response:
        rest = response.read()
    return condition, response.status, start + rest if response.status == 206 else rest


write(OLD, 1_700_000_000)
ports = {}
for name, application in wsgi_applications():
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ports[name] = server.server_port
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
ports |= asyncio.run_coroutine_threadsafe(start_asynchronous(), loop).result()
seen = {}
for name, port in ports.items():
    condition, *seen[name] = resume(port)
    print(f"{name}: If-Range: {condition} gets {seen[name][0]}; the client has {seen[name][1]}")
halves = [206, OLD[:9] + NEW[9:]]
if seen != {name: [200, NEW] if name in {"flask", "wsgidav"} else halves for name in ports}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
