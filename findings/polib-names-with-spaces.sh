#!/usr/bin/env bash
# Expected: in a .po file, a reference to a source file whose name has a space is one reference. GNU
# gettext writes the name between the characters U+2068 and U+2069, and its manual describes that.
# Seen: polib makes two references of it, the first half of the name without a line and the second
# half with it. The two characters are parts of the names. It writes names with spaces without these
# characters, so it can't read its own references either. The escape \a is read as two characters.
# It matters for tools that open the place of a text or delete texts whose file is gone.
# polib 1.2.0; https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'polib==1.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import polib

read = polib.pofile("#: \u2068my pies.py\u2069:10\nmsgid 'a'\nmsgstr 'b'\n".replace("'", '"'))
print("written by gettext:", ascii(read[0].occurrences))
entry = polib.POEntry(msgid="pie", msgstr="Kuchen", occurrences=[("my pies.py", "10")])
file = polib.POFile()
file.append(entry)
again = polib.pofile(str(file))
print("written by polib:", entry.occurrences, "read again:", again[0].occurrences)
escaped = polib.pofile('msgid "a\\a\\t"\nmsgstr "b"\n')[0].msgid
print(r'msgid "a\a\t" is', ascii(escaped))
if (
    read[0].occurrences != [("\u2068my", ""), ("pies.py\u2069", "10")]
    or again[0].occurrences != [("my", ""), ("pies.py", "10")]
    or escaped != "a\\a\t"
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
