#!/usr/bin/env bash
# Expected: two files with one field name, as a browser sends for <input type=file multiple>, are
# two files (RFC 7578, 4.3). Two ticked boxes with one name are two values.
# Seen: streaming-form-data appends the second to the first: the file has the bytes of both and the
# name of the last. The values "1" and "2" are "12". The documented list of files needs another
# class, ListTarget, and with ValueTarget or FileTarget nothing warns.
# It matters because a form gets the attribute `multiple` in HTML, and nothing fails on the server.
# streaming-form-data 2.1.0; https://www.rfc-editor.org/rfc/rfc7578#section-4.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'streaming-form-data==2.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from streaming_form_data import StreamingFormDataParser
from streaming_form_data.targets import ValueTarget

PARTS = [
    ('name="slices"', "1"),
    ('name="slices"', "2"),
    ('name="photo"; filename="apple.txt"', "apple"),
    ('name="photo"; filename="plum.txt"', "plum"),
]
body = "".join(
    f"--pies\r\nContent-Disposition: form-data; {parameters}\r\n\r\n{value}\r\n"
    for parameters, value in PARTS
)
parser = StreamingFormDataParser({"Content-Type": "multipart/form-data; boundary=pies"})
slices, photo = ValueTarget(), ValueTarget()
parser.register("slices", slices)
parser.register("photo", photo)
parser.data_received(f"{body}--pies--\r\n".encode())
print("the values 1 and 2 are", slices.value)
print("apple.txt and plum.txt are", photo.multipart_filename, "with", photo.value)
if (slices.value, photo.value, photo.multipart_filename) != (b"12", b"appleplum", "plum.txt"):
    sys.exit("The behaviour has changed.")
EOF
python program.py
