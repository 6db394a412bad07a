#!/usr/bin/env bash
# Expected: a contact that a client stores on a CardDAV server comes back with the same values.
# Seen: Radicale parses and rewrites it with vobject, which cuts a value at its first comma unless
# it knows that the property is a list. Of two nicknames one is left, and of the address of a page
# or of a photo the part before its comma. The client gets 201.
# It matters because links to maps, and of image services, contain commas. The next synchronisation
# overwrites the contact on every device, and the values are lost.
# Radicale 3.9.0, vobject 0.9.9; https://www.rfc-editor.org/rfc/rfc2426#section-3.1.3 (NICKNAME is a
# list), section-3.1.4 (PHOTO may be a URI) and section-3.6.8 (URL; a comma in a URI isn't escaped);
# https://github.com/py-vobject/vobject/blob/master/vobject/vcard.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'radicale==3.9.0' 'vobject==0.9.9'
python --version
pip freeze

cat >program.py <<'EOF'
import http.client
import subprocess
import sys

CARD = """\
BEGIN:VCARD
VERSION:3.0
UID:ann
FN:Ann Pie
N:Pie;Ann;;;
NICKNAME:Annie,Nan
CATEGORIES:friends,bakers
URL:https://example.com/map?at=47.1,8.2
PHOTO;VALUE=uri:https://example.com/ann/w_80,h_80/photo.png
END:VCARD
""".replace("\n", "\r\n")
BOOK = """\
<create xmlns="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><card:addressbook/></resourcetype></prop></set></create>
"""
SERVER = """\
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
from radicale import config
from radicale.app import Application

class Silent(WSGIRequestHandler):
    def log_message(self, *args):
        pass

settings = config.load()
folder = {"filesystem_folder": "collections"}
choices = {"auth": {"type": "none"}, "storage": folder, "logging": {"level": "critical"}}
settings.update(choices, "program")
with make_server("127.0.0.1", 0, Application(settings), handler_class=Silent) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def request(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body, {"Authorization": "Basic YW5uOng="})  # ann:x
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
    try:
        port = int(server.stdout.readline())
        seen = [
            request("MKCOL", "/ann/book/", BOOK)[0],
            request("PUT", "/ann/book/ann.vcf", CARD)[0],
        ]
        stored = request("GET", "/ann/book/ann.vcf")[1].splitlines()
    finally:
        server.terminate()
print("statuses:", *seen)
print("missing:", *(line for line in CARD.splitlines() if line not in stored), sep="\n  ")
new = [line for line in stored if line not in CARD.splitlines()]
print("instead:", *new, sep="\n  ")
if seen != [201, 201] or sorted(new) != [
    "NICKNAME:Annie",
    "PHOTO;VALUE=uri:https://example.com/ann/w_80",
    "URL:https://example.com/map?at=47.1",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
