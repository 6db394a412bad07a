#!/usr/bin/env bash
# Expected: the units ' and '' of UCUM are minutes and seconds of arc, 1/60 and 1/3600 of a degree.
# Their table lists them under plane angle; units of time are min and s.
# Seen: ucumvert translates them to the units minute and second of Pint, which are times: 30' is
# 1800 s, and can be added to a duration. A sum with an angle in deg raises DimensionalityError. deg
# and gon are right.
# It matters for measurements in eye clinics and in astronomy, such as 20 '' for stereo vision: a
# value is stored as a time, and the rate deg/' is a degree per minute.
# ucumvert 0.3.2; the mapping in the package's ucumvert/ucum_pint.py; https://ucum.org/ucum, § 31
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'ucumvert==0.3.2' 'Pint==0.25.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from ucumvert import PintUcumRegistry

registry = PintUcumRegistry()
seen = {}
for code in ("deg", "gon", "'", "''", "min", "s"):
    unit = registry.from_ucum(code)
    seen[code] = str((1 * unit).to_base_units().units)
    print(f"{code}: {unit}, in base units {(1 * unit).to_base_units()}")
total = 30 * registry.from_ucum("'") + 10 * registry.from_ucum("min")
print("30 ' + 10 min:", total)
if seen != {
    "deg": "radian",
    "gon": "radian",
    "'": "second",
    "''": "second",
    "min": "second",
    "s": "second",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
