#!/usr/bin/env bash
# Expected: in a line of logfmt, a quoted value has escapes as in Go or JSON: a message of two lines
# is msg="two\nlines". The library reads what it writes.
# Seen: after an escape other than \" the library logfmt loses the value: `msg="two\nlines"
# path="pies.txt"` has the value "twonlines\" path=" and a field pies.txt, without an error. It
# writes a message of two lines as two lines, neither of which it can read. A path on Windows breaks
# the rest of its own line.
# It matters for each log of a Go program with a stack trace, and for the fields behind it.
# logfmt 0.4; https://pkg.go.dev/github.com/kr/logfmt and
# https://pkg.go.dev/github.com/go-logfmt/logfmt
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'logfmt==0.4'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import logfmt

EXPECTED = {
    r'msg="say \"pies\"" user=ada': [{"msg": 'say "pies"', "user": "ada"}],
    r'msg="two\nlines" path="pies.txt" user=ada': [
        {"msg": 'twonlines" path=', "pies.txt": True, "user": "ada"}
    ],
    'path="C:\\temp" msg="done"': [{"path": 'C:temp" msg=', "done": True}],
    'msg="two\nlines" user="ada"': [{"msg": True}, {"lines": True, "user": "ada"}],
}
seen = {text: list(logfmt.parse(io.StringIO(text + "\n"))) for text in EXPECTED}
for text, fields in seen.items():
    print(f"{text}\n    is {fields}")
written = [
    *logfmt.format({"path": "C:\\temp", "msg": "done"}, {"msg": "two\nlines", "user": "ada"})
]
print("written by the library:", written)
if seen != EXPECTED or written != [*EXPECTED][2:]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
