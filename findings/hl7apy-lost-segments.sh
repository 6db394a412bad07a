#!/usr/bin/env bash
# Expected: a message of HL7 version 2 that hl7apy parses and writes again has the same segments.
# Seen: parse_message leaves out each segment that the message's structure doesn't list, also in
# its default, tolerant mode. So the segments that begin with Z, which HL7 reserves for additions
# of a site, are missing. Neither an exception nor a log follows. With find_groups=False they stay.
# It matters for programs between two systems of a hospital: they change one field, send the
# message on, and the additions of the site are gone.
# hl7apy 1.3.5; https://github.com/crs4/hl7apy/issues/145; HL7 version 2.5, chapter 2 (Z segments)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'hl7apy==1.3.5'
python --version
pip freeze

cat >program.py <<'EOF'
import logging
import sys
import warnings

from hl7apy.parser import parse_message

MESSAGES = {
    "admission": r"""MSH|^~\&|A|B|C|D|20240101||ADT^A01^ADT_A01|1|P|2.5
EVN||20240101
PID|1||123^^^H^MR||Doe^J||19800101|M
PV1|1|I
ZPI|1|pie^apple
""",
    "result": r"""MSH|^~\&|A|B|C|D|20240101||ORU^R01^ORU_R01|1|P|2.5
PID|1||123^^^H^MR||Doe^J
OBR|1||5|X
OBX|1|NM|8867-4^HR^LN||72|/min|||||F
ZBX|1|left arm
""",
}

logging.basicConfig(level=logging.DEBUG, filename="log")
logging.captureWarnings(True)
warnings.simplefilter("always")
seen = []
for name, text in MESSAGES.items():
    lines = text.splitlines()
    for options in {}, {"find_groups": False}:
        written = parse_message("\r".join(lines) + "\r", **options).to_er7().split("\r")
        lost = [line for line in lines if line not in written]
        print(f"{name}, {options}: lost {lost}")
        seen.append(lost)
with open("log") as file:
    log = file.read()
print("log:", repr(log))
if seen != [["ZPI|1|pie^apple"], [], ["ZBX|1|left arm"], []] or log:
    sys.exit("The behaviour has changed.")
EOF
python program.py
