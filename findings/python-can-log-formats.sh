#!/usr/bin/env bash
# Expected: can.Logger writes a log that can.LogReader reads back, in each of its formats: the
# suffix of the file is a matter of taste.
# Seen: a message of 12 bytes that was sent as CAN FD on channel 1 comes back from .csv and .db
# without a channel, as received, and as a classic message, which can't have more than 8 bytes. From
# .blf, .asc and .log all is there, but .asc counts the seconds from the start of the log, and .log
# has the channel as a text, "can1".
# It matters for replays and analyses: two buses in one log can't be told apart any more, and a
# player sends frames of the wrong kind. It shows when the recording is over.
# python-can 4.6.1; CSVWriter in the package's can/io/csv.py, SqliteWriter in can/io/sqlite.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-can==4.6.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import can

EXPECTED = {
    ".blf": (1, False, True, 12),
    ".csv": (None, True, False, 12),
    ".db": (None, True, False, 12),
}
message = can.Message(
    timestamp=1767600000.25,
    arbitration_id=0x123,
    is_extended_id=False,
    is_fd=True,
    is_rx=False,
    data=bytes(12),
    channel=1,
)
seen = {}
for suffix in EXPECTED:
    with can.Logger("log" + suffix) as log:
        log.on_message_received(message)
    with can.LogReader("log" + suffix) as reader:
        (read,) = reader
    seen[suffix] = read.channel, read.is_rx, read.is_fd, read.dlc
    print(f"{suffix}: channel, received, CAN FD and length are {seen[suffix]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
