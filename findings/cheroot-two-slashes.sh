#!/usr/bin/env bash
# Expected: GET //pies reaches the application with the path "//pies". In RFC 9112 the target of a
# request that begins with a slash is a path, whose segments may be empty (RFC 9110, 4.1).
# Seen: cheroot takes it for an address with the host "pies" and responds with a 400 ("Absolute URI
# not allowed if server is not a proxy."), but /pies//1 reaches the application. gunicorn passes
# both.
# It matters because a base address that ends with a slash and a path that begins with one make such
# requests, which frameworks redirect or normalise, but here no application sees them.
# cheroot 11.1.2 (the server of CherryPy), beside gunicorn 27.0.1;
# https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1;
# https://www.rfc-editor.org/rfc/rfc9110#section-4.1 (absolute-path)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cheroot==11.1.2' 'gunicorn==27.0.1'
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
    text = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


if __name__ == "__main__":
    from cheroot import wsgi

    wsgi.Server(("127.0.0.1", int(sys.argv[1])), app).start()
EOF
for server in gunicorn cheroot; do
    if [ $server = gunicorn ]; then
        serve gunicorn --bind "127.0.0.1:$port" pies:app
    else
        serve python pies.py "$port"
    fi
    for path in /pies//1 //pies; do
        text=$(curl --silent --write-out ' %{http_code}' "http://127.0.0.1:$port$path")
        echo "$server, GET $path: $text" | tee -a seen
    done
    stop
done
cat >expected <<'EOF'
gunicorn, GET /pies//1: /pies//1 200
gunicorn, GET //pies: //pies 200
cheroot, GET /pies//1: /pies//1 200
cheroot, GET //pies: Absolute URI not allowed if server is not a proxy. 400
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
