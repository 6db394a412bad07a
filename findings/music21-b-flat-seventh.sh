#!/usr/bin/env bash
# Expected: a library of music that reads "Bb" as the note and the key of B flat reads the chord
# symbol "Bb7" as the seventh chord on B flat: B flat, D, F, A flat. Lead sheets and MusicXML's
# texts write it so.
# Seen: for music21, the chord Bb7 is on B, has a raised second and fifth, and A as its seventh.
# "Eb" is a ValueError. "C-7", a C minor seventh in many books, is C flat minor. Flats in chords
# must be written with a minus, B-7, while Note("Bb") and Key("Bb") are right.
# It matters because the chord is printed as Bb7 in each case: somebody has to listen.
# music21 10.5.1; https://www.music21.org/music21docs/moduleReference/moduleHarmony.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'music21==10.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from music21 import harmony, key, note

EXPECTED = {
    "Bb7": ["B", "D#", "F#", "A"],
    "B-7": ["B-", "D", "F", "A-"],
    "C-7": ["C-", "E-", "G-", "B--"],
    "Cm7": ["C", "E-", "G", "B-"],
    "Eb": "ValueError",
}
print("the note Bb:", note.Note("Bb").name, "| the key Bb:", key.Key("Bb"))
seen = {}
for symbol in EXPECTED:
    try:
        seen[symbol] = [pitch.name for pitch in harmony.ChordSymbol(symbol).pitches]
    except ValueError as error:
        seen[symbol] = type(error).__name__
    print("the chord", symbol, "is", seen[symbol])
if seen != EXPECTED or note.Note("Bb").name != "B-":
    sys.exit("The behaviour has changed.")
EOF
python program.py
