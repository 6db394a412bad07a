#!/usr/bin/env bash
# Expected: a field that is too long for MARC, whose directory has four digits for a field's length,
# is an error when a record is written.
# Seen: as_marc() and MARCWriter write five digits. All that follows in the directory is shifted by
# one, so the record can't be read: MARCReader yields None in its place, without an exception unless
# you look at reader.current_exception.
# It matters for exports of a catalogue: an abstract or a table of contents of 10,000 characters
# costs the whole record, which shows when somebody else reads the file.
# pymarc 5.4.0; Record.as_marc in the package's pymarc/record.py;
# https://www.loc.gov/marc/specifications/specrecstruc.html (entry map)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pymarc==5.4.0'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

from pymarc import Field, Indicators, MARCReader, MARCWriter, Record, Subfield


def record(number, length):
    new = Record(force_utf8=True)
    new.add_field(Field(tag="001", data=number))
    for tag, text in ("245", "Pies"), ("520", "x" * length), ("650", "Baking"):
        new.add_field(
            Field(tag=tag, indicators=Indicators(" ", " "), subfields=[Subfield("a", text)])
        )
    return new


seen = {}
for length in 9_990, 10_000:
    file = io.BytesIO()
    writer = MARCWriter(file)
    for one in record("1", length), record("2", 10):
        writer.write(one)
    writer.close(close_fh=False)
    file.seek(0)
    reader = MARCReader(file, to_unicode=True)
    seen[length] = [one and [field.tag for field in one.fields] for one in reader]
    print(f"{length} characters: {seen[length]}")
COMPLETE = ["001", "245", "520", "650"]
EXPECTED = {9_990: [COMPLETE, COMPLETE], 10_000: [None, COMPLETE]}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
