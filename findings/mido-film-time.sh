#!/usr/bin/env bash
# Expected: mido gives the length of a MIDI file whose division is in SMPTE format. With 25 frames
# per second and 40 ticks per frame, one tick is a millisecond, and a note of 2,000 ticks takes two
# seconds, whatever the tempo is (Standard MIDI Files 1.0, "Header Chunks", bit 15 of the division).
# Seen: ticks_per_beat is -6360, the two bytes as one negative number. The length of the file is
# -0.16 seconds, the end of the note comes before its start, and play() doesn't wait. The same note
# in ticks per quarter note takes two seconds. Neither an exception nor a warning follows.
# It matters for players and converters of music for film and video, which use this format: all
# notes sound at once, and the sum of a playlist's lengths is too small.
# mido 1.3.3; https://midi.org/standard-midi-files-specification;
# https://github.com/mido/mido/blob/main/mido/midifiles/midifiles.py, read_file_header
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mido==1.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import struct
import sys

import mido


def file_with(division):
    """Return a file with one note, which lasts 2,000 ticks."""
    track = b"\x00\x90\x3c\x40" + b"\x8f\x50\x80\x3c\x40" + b"\x00\xff\x2f\x00"
    head = struct.pack(">4sIHH2s", b"MThd", 6, 0, 1, division)
    return io.BytesIO(head + struct.pack(">4sI", b"MTrk", len(track)) + track)


seen = {}
for name, division in (
    ("500 ticks per quarter note", struct.pack(">H", 500)),
    ("25 frames of 40 ticks per second", struct.pack(">bB", -25, 40)),
):
    file = mido.MidiFile(file=file_with(division))
    times = [round(message.time, 3) for message in file]
    print(f"{name}: ticks_per_beat {file.ticks_per_beat}, {file.length:.3f} seconds, {times}")
    seen[name] = file.ticks_per_beat, round(file.length, 3)
if seen != {
    "500 ticks per quarter note": (500, 2.0),
    "25 frames of 40 ticks per second": (-6360, -0.157),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
