#!/usr/bin/env bash
# Expected: a library for Java's properties reads \u00e9 as é, \n as a line break and \\ as one
# backslash, and keeps spaces at the end of a value, as java.util.Properties does.
# Seen: pyjavaproperties leaves all three as they are, though \: is a colon, and removes the spaces.
# javaproperties and jproperties read the file as Java does, and as each other.
# It matters for files of translations, in which each letter outside of Latin-1 has to be escaped:
# users see \u017bubr. A separator ", " becomes ",".
# pyjavaproperties 0.7, beside javaproperties 0.8.2 and jproperties 2.1.2;
# https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/util/Properties.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'pyjavaproperties==0.7' 'javaproperties==0.8.2' 'jproperties==2.1.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import javaproperties
import jproperties
import pyjavaproperties

TEXT = r"""name = caf\u00e9
greeting = one\ntwo
folder = C\:\\pies
separator = ,\u0020
list = a, """
TEXT += "\n"
JAVA = {
    "name": "café",
    "greeting": "one\ntwo",
    "folder": "C:\\pies",
    "separator": ", ",
    "list": "a, ",
}
other = jproperties.Properties()
other.load(TEXT.encode())
others = javaproperties.loads(TEXT), {key: value.data for key, value in other.items()}
properties = pyjavaproperties.Properties()
properties.load(io.StringIO(TEXT))
seen = dict(properties.getPropertyDict())
for key, value in seen.items():
    print(f"{key}: {value!r}, for Java {JAVA[key]!r}")
if others != (JAVA, JAVA) or seen != {
    "name": r"caf\u00e9",
    "greeting": r"one\ntwo",
    "folder": r"C:\\pies",
    "separator": r",\u0020",
    "list": "a,",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
