#!/usr/bin/env bash
# Expected: a tag that EasyID3 has written comes back as it was, or setting it is an error.
# Seen: "15.06.2024" comes back as "0015-06-2024", "Summer 2024" as no tag at all, and the genres
# "80" and "17" as Folk and Rock, because texts of digits are numbers in an old list. "1984" stays.
# No exception follows, on writing or reading.
# It matters for music libraries that copy tags from other sources: dates in the form of half of
# Europe sort before the Romans, and the original is lost.
# mutagen 1.48.1; ID3TimeStamp and TCON in the package's mutagen/id3/;
# https://id3.org/id3v2.4.0-structure (time stamps)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mutagen==1.48.1'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

from mutagen.easyid3 import EasyID3

EXPECTED = {
    ("date", "2024-06-15"): ["2024-06-15"],
    ("date", "15.06.2024"): ["0015-06-2024"],
    ("date", "Summer 2024"): None,
    ("genre", "80"): ["Folk"],
    ("genre", "17"): ["Rock"],
    ("genre", "1984"): ["1984"],
}
seen = {}
for key, value in EXPECTED:
    file = io.BytesIO()
    tags = EasyID3()
    tags[key] = value
    tags.save(file)
    file.seek(0)
    seen[key, value] = EasyID3(file).get(key)
    print(key, repr(value), "->", seen[key, value])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
