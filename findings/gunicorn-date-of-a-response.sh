#!/usr/bin/env bash
# Expected: the Date that an application sets reaches the client. It is the time when the response
# was generated, and a recipient passes it on (RFC 9110, 6.6.1).
# Seen: gunicorn removes it and sends the present time. The same happens to Server. waitress and
# wsgiref send what the application sets.
# It matters for applications that pass on or store responses. With `Cache-Control: max-age=600`, a
# response that was generated nine minutes ago is fresh for one more minute, but for ten behind
# gunicorn, and an application can't mark its clock's time for clients that compute with it.
# gunicorn 27.0.1, beside waitress 3.0.2; https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1;
# https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'gunicorn==27.0.1' 'waitress==3.0.2'
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
from wsgiref.simple_server import make_server

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


def app(environ, start_response):
    headers = [("Date", DATE), ("Server", "pies"), ("Cache-Control", "max-age=600")]
    start_response("200 OK", [*headers, ("Content-Length", "5")])
    return [b"apple"]


if __name__ == "__main__":
    import sys

    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
EOF
for server in wsgiref waitress sync gthread; do
    case $server in
    wsgiref) serve python pies.py "$port" ;;
    waitress) serve waitress-serve --listen="127.0.0.1:$port" pies:app ;;
    *) serve gunicorn --worker-class $server --bind "127.0.0.1:$port" pies:app ;;
    esac
    curl --silent --fail --dump-header head "http://127.0.0.1:$port/" >body
    echo "$server: $(grep -Ei '^(Date|Server):' head | tr -d '\r' | sort | paste -sd ' ')"
    if grep -q 'Mon, 01 Jan 2024' head && grep -q 'pies' head; then
        echo "$server: as set" >>seen
    elif grep -q '^Date: ' head && grep -qi 'Server: gunicorn' head; then
        echo "$server: replaced" >>seen
    fi
    stop
done
cat >expected <<'EOF'
wsgiref: as set
waitress: as set
sync: replaced
gthread: replaced
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
