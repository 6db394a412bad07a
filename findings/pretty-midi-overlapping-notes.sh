#!/usr/bin/env bash
# Expected: notes that are written to a MIDI file have the same beginning and end when they are
# read, apart from the length of a tick.
# Seen: with pretty_midi, of two overlapping notes of one pitch, as a pedal makes them, both end
# when the first one ends, so the second, from 2.5 to 4 seconds, ends at 3. A note that is shorter
# than a tick, 1.0 to 1.0001, lasts until the end of the next note of its pitch. A note with the
# velocity 0 is missing. There is no warning.
# It matters for transcriptions and generated music: short notes of a model become long ones, and
# the end of a piece is cut. Scales and chords are right.
# pretty_midi 0.2.11.post0, mido 1.3.3; https://craffel.github.io/pretty-midi/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'pretty_midi==0.2.11.post0' 'mido==1.3.3' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pretty_midi


def read_again(*notes):
    written = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    for start, end, velocity in notes:
        piano.notes.append(pretty_midi.Note(velocity, 60, start, end))
    written.instruments.append(piano)
    written.write("pie.mid")
    read = pretty_midi.PrettyMIDI("pie.mid")
    found = [
        (round(float(note.start), 1), round(float(note.end), 1), note.velocity)
        for instrument in read.instruments
        for note in instrument.notes
    ]
    print(*notes, "are read as", *found)
    return found


seen = [
    read_again((0.0, 1.0, 100), (1.0, 2.0, 100)),
    read_again((2.0, 3.0, 100), (2.5, 4.0, 100)),
    read_again((1.0, 1.0001, 100), (2.0, 3.0, 100)),
    read_again((1.0, 2.0, 0), (2.0, 3.0, 100)),
]
if seen != [
    [(0.0, 1.0, 100), (1.0, 2.0, 100)],
    [(2.0, 3.0, 100), (2.5, 3.0, 100)],
    [(1.0, 3.0, 100), (2.0, 3.0, 100)],
    [(2.0, 3.0, 100)],
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
