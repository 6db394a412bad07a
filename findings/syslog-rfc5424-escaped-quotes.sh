#!/usr/bin/env bash
# Expected: a parser of structured data in syslog returns the values without the escapes: `\"` is a
# quotation mark, `\]` a bracket (RFC 5424, 6.3.3). A parameter may be repeated, as `ip` in the
# RFC's own element "origin" (7.2.1), and "-" is no value (6.2).
# Seen: syslog-rfc5424-parser leaves the backslashes in, so a value has other characters than the
# sender wrote. Of two addresses it returns the last. A missing process is None, a missing host "-".
# It matters for alerts and searches: the text of a rule doesn't match the value.
# syslog-rfc5424-parser 0.3.2; https://www.rfc-editor.org/rfc/rfc5424#section-6.3.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'syslog-rfc5424-parser==0.3.2' 'lark-parser==0.6.7'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from syslog_rfc5424_parser import SyslogMessage

DATA = (
    r'[pie@32473 name="the \"big\" [one\]" path="C:\\pies"]'
    '[origin ip="192.0.2.1" ip="192.0.2.2"]'
)
message = SyslogMessage.parse(f"<165>1 2024-03-05T14:00:00Z - pies - - {DATA} baked")
print(DATA)
for name, parameters in message.sd.items():
    for key, value in parameters.items():
        print(name, key, value)
print("host:", message.hostname, "process:", message.procid)
if message.sd != {
    "pie@32473": {"name": r"the \"big\" [one\]", "path": r"C:\\pies"},
    "origin": {"ip": "192.0.2.2"},
} or (message.hostname, message.procid) != ("-", None):
    sys.exit("The behaviour has changed.")
EOF
python program.py
