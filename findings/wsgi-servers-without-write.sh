#!/usr/bin/env bash
# Expected: start_response returns the callable write(data). PEP 3333 requires it of each server,
# for code that produces its response by calls.
# Seen: in granian and in hypercorn, start_response returns None, so such an application is a 500.
# gunicorn and waitress send the response.
# It matters for applications that have worked for years, such as CGI scripts in a WSGI wrapper and
# tools that write a file step by step, when they move to a newer server.
# granian 2.8.9, hypercorn 0.18.0, gunicorn 27.0.1, waitress 3.0.2;
# https://peps.python.org/pep-3333/#the-write-callable
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'granian==2.8.9' 'hypercorn==0.18.0' 'gunicorn==27.0.1' 'waitress==3.0.2'
python --version
pip freeze

cat >pies.py <<'EOF'
def app(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"apple ")
    write(b"pie")
    return []
EOF
port() { python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }
g=$(port) h=$(port) u=$(port) w=$(port)
granian --interface wsgi --port "$g" pies:app >granian.txt 2>&1 &
hypercorn --bind "127.0.0.1:$h" wsgi:pies:app >hypercorn.txt 2>&1 &
gunicorn --bind "127.0.0.1:$u" pies:app >gunicorn.txt 2>&1 &
waitress-serve --listen="127.0.0.1:$w" pies:app >waitress.txt 2>&1 &
seen=
for pair in "granian $g" "hypercorn $h" "gunicorn $u" "waitress $w"; do
    set -- $pair
    until curl --silent "http://127.0.0.1:$2/" >/dev/null; do sleep 0.2; done
    body=$(curl --silent --write-out ' %{http_code}' "http://127.0.0.1:$2/")
    echo "$1: $body"
    seen="$seen$1: $body|"
done
grep -h "TypeError" granian.txt hypercorn.txt | sort | uniq
[ "$seen" = "granian:  500|hypercorn:  500|gunicorn: apple pie 200|waitress: apple pie 200|" ] ||
    { echo "The behaviour has changed."; exit 1; }
