#!/usr/bin/env bash
# Expected: PATH_INFO stands for the bytes of the path, so /caf%E9 (latin-1) is "/caf\xe9" under
# each WSGI server (PEP 3333, "Unicode Issues"), and an application can decode them as it likes.
# Seen: hypercorn and Werkzeug's server decode the path as UTF-8 first and replace bytes that aren't
# UTF-8. PATH_INFO has the three bytes of U+FFFD in their place, so /caf%E9 and /caf%E8 are one
# path. gunicorn, waitress and granian keep the byte.
# It matters for archives with old links and for files whose names aren't UTF-8: they can be served
# with one server, and with the other none of them is found.
# hypercorn 0.18.0, Werkzeug 3.1.9, beside gunicorn 27.0.1, waitress 3.0.2, granian 2.8.9;
# https://peps.python.org/pep-3333/#unicode-issues
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'hypercorn==0.18.0' 'werkzeug==3.1.9' 'gunicorn==27.0.1' 'waitress==3.0.2' 'granian==2.8.9'
python --version
pip freeze

port=$(python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
serve() { # starts a server, and waits until it listens
    "$@" >log 2>&1 &
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 $!
        sleep 0.1
    done
}
stop() {
    kill $!
    wait $! || true
}

cat >pies.py <<'EOF'
import sys


def app(environ, start_response):
    text = repr(environ["PATH_INFO"].encode("latin-1")).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), app)
EOF
for server in gunicorn waitress granian hypercorn werkzeug; do
    case $server in
    gunicorn) serve gunicorn --bind "127.0.0.1:$port" pies:app ;;
    waitress) serve waitress-serve --listen="127.0.0.1:$port" pies:app ;;
    granian) serve granian --interface wsgi --host 127.0.0.1 --port "$port" pies:app ;;
    hypercorn) serve hypercorn --bind "127.0.0.1:$port" wsgi:pies:app ;;
    werkzeug) serve python pies.py "$port" ;;
    esac
    for path in /caf%C3%A9 /caf%E9 /caf%E8; do
        text=$(curl --silent --fail "http://127.0.0.1:$port$path")
        echo "$server, GET $path: $text" | tee -a seen
    done
    stop
done
for server in gunicorn waitress granian; do
    echo "$server, GET /caf%C3%A9: b'/caf\xc3\xa9'"
    echo "$server, GET /caf%E9: b'/caf\xe9'"
    echo "$server, GET /caf%E8: b'/caf\xe8'"
done >expected
for server in hypercorn werkzeug; do
    echo "$server, GET /caf%C3%A9: b'/caf\xc3\xa9'"
    echo "$server, GET /caf%E9: b'/caf\xef\xbf\xbd'"
    echo "$server, GET /caf%E8: b'/caf\xef\xbf\xbd'"
done >>expected
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
