#!/usr/bin/env bash
# Expected: a client that sends `Connection: TE, close` gets one response, and the server closes the
# connection. The field is a list of options in any order and case (RFC 9110, 7.6.1).
# Seen: tornado, waitress, cheroot, eventlet and gevent compare the whole value with "close", and
# cheroot only in lower case. They keep the connection open. granian closes it.
# It matters for clients that read until the connection ends, as they have announced: they hang
# until the server's keep-alive time has passed. Perl's LWP sends "TE, close".
# tornado 6.6.1, waitress 3.0.2, cheroot 11.1.2, eventlet 0.41.3, gevent 26.9.0, beside
# granian 2.8.9; https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1;
# https://www.rfc-editor.org/rfc/rfc9112#section-9.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'tornado==6.6.1' 'waitress==3.0.2' 'cheroot==11.1.2' \
    'eventlet==0.41.3' 'gevent==26.9.0' 'granian==2.8.9'
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
    start_response("200 OK", [("Content-Length", "5")])
    return [b"apple"]


def serve(name, port):
    address = "127.0.0.1", port
    if name == "tornado":
        import asyncio

        from tornado import httpserver, wsgi

        async def main():
            httpserver.HTTPServer(wsgi.WSGIContainer(app)).listen(port, "127.0.0.1")
            await asyncio.Event().wait()

        asyncio.run(main())
    elif name == "waitress":
        import waitress

        waitress.serve(app, host="127.0.0.1", port=port)
    elif name == "cheroot":
        from cheroot import wsgi

        wsgi.Server(address, app).start()
    elif name == "eventlet":
        import eventlet.wsgi

        eventlet.wsgi.server(eventlet.listen(address), app)
    else:
        from gevent.pywsgi import WSGIServer

        WSGIServer(address, app).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
EOF
cat >client.py <<'EOF'
import socket
import sys


def get(option):
    head = f"GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: {option}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2) as client:
        client.sendall(head.encode())
        received = b""
        try:
            while data := client.recv(65536):
                received += data
        except TimeoutError:
            return "open"
        finally:
            assert received.endswith(b"apple")
    return "closed"


print({option: get(option) for option in ("close", "Close", "TE, close")})
EOF
for server in granian tornado waitress cheroot eventlet gevent; do
    if [ $server = granian ]; then
        serve granian --interface wsgi --host 127.0.0.1 --port "$port" pies:app
    else
        serve python pies.py $server "$port"
    fi
    echo "$server: $(python client.py "$port")" | tee -a seen
    stop
done
cat >expected <<'EOF'
granian: {'close': 'closed', 'Close': 'closed', 'TE, close': 'closed'}
tornado: {'close': 'closed', 'Close': 'closed', 'TE, close': 'open'}
waitress: {'close': 'closed', 'Close': 'closed', 'TE, close': 'open'}
cheroot: {'close': 'closed', 'Close': 'open', 'TE, close': 'open'}
eventlet: {'close': 'closed', 'Close': 'closed', 'TE, close': 'open'}
gevent: {'close': 'closed', 'Close': 'closed', 'TE, close': 'open'}
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
