#!/usr/bin/env bash
# Expected: C6/9, the six-nine chord in the spelling of most songbooks, has the notes C, E, G, A and
# D.
# Seen: it has E, G, A and C. A slash and a number is the number of an inversion for pychord, and 9
# is taken modulo the number of notes. Neither the ninth nor an exception is there. G6/9 and Am7/9
# are wrong in the same way. "C69" is right.
# It matters for tools that play or show chords of existing songs: the note that gives the chord its
# name is missing, and the bass is another.
# pychord 1.4.1; inversion_re in the package's pychord/parser.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pychord==1.4.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pychord import Chord

EXPECTED = {
    "C69": ["C", "E", "G", "A", "D"],
    "C6/9": ["E", "G", "A", "C"],
    "G6/9": ["B", "D", "E", "G"],
    "Am7/9": ["C", "E", "G", "A"],
    "C6/E": ["E", "C", "G", "A"],
}
seen = {name: Chord(name).components() for name in EXPECTED}
print(*(f"{name}: {' '.join(notes)}" for name, notes in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
