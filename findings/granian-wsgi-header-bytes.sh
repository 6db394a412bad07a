#!/usr/bin/env bash
# Expected: under WSGI the value of a header is text whose characters stand for its bytes (PEP 3333,
# "Unicode Issues": latin-1), in both directions. The name "José" in UTF-8 is "JosÃ©" in environ.
# Seen: in granian a request header with a byte that isn't ASCII is "" in environ. A response header
# is encoded as UTF-8, so a value that was UTF-8 before is encoded twice, and one in latin-1 has two
# bytes for a character. gunicorn passes all bytes on.
# It matters behind a proxy that authenticates users and sends their names in a header: José is
# anonymous, while John isn't. File names in Content-Disposition are unreadable.
# granian 2.8.9, beside gunicorn 27.0.1; https://peps.python.org/pep-3333/#unicode-issues
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'granian==2.8.9' 'gunicorn==27.0.1'
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
def app(environ, start_response):
    user = environ["HTTP_X_USER"]
    headers = [("Content-Type", "text/plain"), ("X-File", "é.txt")]
    headers.append(("X-File-UTF-8", "é.txt".encode().decode("latin-1")))
    body = repr(user.encode("latin-1")).encode()
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]
EOF
cat >client.py <<'EOF'
import socket
import sys

seen = []
for user in "John", "José":
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        head = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-User: {user}\r\n\r\n"
        client.sendall(head.encode())
        response = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = response.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
    seen.append((user, body.decode()))
print(seen, headers[b"x-file"], headers[b"x-file-utf-8"])
EOF
serve gunicorn --bind "127.0.0.1:$port" pies:app
python client.py "$port" | tee -a seen
stop
serve granian --interface wsgi --host 127.0.0.1 --port "$port" pies:app
python client.py "$port" | tee -a seen
cat >expected <<'EOF'
[('John', "b'John'"), ('José', "b'Jos\\xc3\\xa9'")] b'\xe9.txt' b'\xc3\xa9.txt'
[('John', "b'John'"), ('José', "b''")] b'\xc3\xa9.txt' b'\xc3\x83\xc2\xa9.txt'
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
