#!/usr/bin/env bash
# Expected: a patch whose empty lines of context have no space, as `diff --suppress-blank-empty`,
# editors and mails leave it, is read as GNU patch and git read it.
# Seen: whatthepatch skips these lines. The numbers of all later lines are one less for each, a
# change in line 3 is in line 2, and apply_diff raises HunkApplyException. unidiff reads them as
# empty lines.
# It matters for reviews and bots: a comment is attached to the wrong line, and a patch that applies
# in the shell doesn't.
# whatthepatch 1.0.7, beside unidiff 1.0.1;
# https://www.gnu.org/software/diffutils/manual/html_node/Trailing-Blanks.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'whatthepatch==1.0.7' 'unidiff==1.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import unidiff
import whatthepatch
from whatthepatch.exceptions import HunkApplyException

TEXT = "apple\n\ncherry\n"
seen = {}
for name, empty in ("a space", " "), ("nothing", ""):
    patch = f"--- a/pie\n+++ b/pie\n@@ -1,3 +1,3 @@\n apple\n{empty}\n-cherry\n+plum\n"
    (diff,) = whatthepatch.parse_patch(patch)
    try:
        applied = whatthepatch.apply_diff(diff, TEXT)
    except HunkApplyException as error:
        applied = type(error).__name__
    removed = [one.old for one in diff.changes if one.new is None]
    other = [line.source_line_no for line in unidiff.PatchSet(patch)[0][0] if line.is_removed]
    seen[name] = (applied, removed, other)
    print(f"{name}: {applied}, removed lines {removed}, by unidiff {other}")
EXPECTED = {
    "a space": (["apple", "", "plum"], [3], [3]),
    "nothing": ("HunkApplyException", [2], [3]),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
