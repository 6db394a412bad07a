#!/usr/bin/env bash
# Expected: create_patch(old, new) of json-merge-patch returns a patch that turns `old` into `new`.
# Seen: if the only change is from 1 to true, or from 0 to false, or back, also inside of an array,
# the patch is {}. Python's 1 == True decides, although the JSON documents differ.
# It matters for a client that sends only its changes: a setting that was stored as 0 or 1, and
# becomes a boolean, is never sent, and nothing reports it. jsonpatch (RFC 6902) sends the change.
# json-merge-patch 0.3.0; RFC 7396, and RFC 8259, section 3 (true and 1 are different values);
# https://github.com/OpenDataServices/json-merge-patch/blob/main/json_merge_patch/lib.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'json-merge-patch==0.3.0' 'jsonpatch==1.48'
python --version
pip freeze

cat >program.py <<'EOP'
import json
import sys

import json_merge_patch
import jsonpatch

seen = []
for old, new in (1, True), (False, 0), ([0, "a"], [False, "a"]), (1, 2), ("1", 1):
    before, after = {"public": old}, {"public": new}
    patch = json_merge_patch.create_patch(before, after)
    applied = json.dumps(json_merge_patch.merge({"public": old}, patch))
    other = jsonpatch.make_patch(before, after).patch
    print(json.dumps(before), "->", json.dumps(after), "| patch:", patch, "| jsonpatch:", other)
    seen.append((applied == json.dumps(after), other != []))
if seen != [(False, True)] * 3 + [(True, True)] * 2:
    sys.exit("The behaviour has changed.")
EOP
python program.py
