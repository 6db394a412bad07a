#!/usr/bin/env bash
# Expected: in FHIRPath, 2.5.round(0) is 3, since 0.5 or higher is rounded up, -7 mod 3 is -1, the
# remainder of a truncated division, and true isn't the number 1 (FHIRPath, sections 5.7 and 6.6).
# Seen: for fhirpathpy, 2.5.round(0) is 2 and 3.5.round(0) is 4, as in Python, and 0.125.round(2) is
# 0.12. -7 mod 3 is 2, though -7 div 2 is -3, as the specification says. true = 1 and 1 in (true |
# false) are true.
# It matters for doses and scores: the same expression of an implementation guide has another result
# than in Java or JavaScript, without an error.
# fhirpathpy 2.2.4; https://hl7.org/fhirpath/N1/; https://github.com/beda-software/fhirpath-py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'fhirpathpy==2.2.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from fhirpathpy import evaluate

EXPECTED = {
    "1.5.round(0)": 2,
    "2.5.round(0)": 2,
    "3.5.round(0)": 4,
    "7 mod 3": 1,
    "-7 mod 3": 2,
    "-7 div 2": -3,
    "true = 1": True,
    "1 in (true | false)": True,
    "1 in (2 | 3)": False,
}
seen = {}
for expression in EXPECTED:
    (seen[expression],) = evaluate({}, expression)
    print(expression, "is", seen[expression])
(rounded,) = evaluate({"dose": 0.125}, "dose.round(2)")
print("0.125.round(2) is", rounded)
if seen != EXPECTED or str(rounded) != "0.12":
    sys.exit("The behaviour has changed.")
EOF
python program.py
