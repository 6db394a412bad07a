#!/usr/bin/env bash
# Expected: the difference of 20 °C and 10 °C is 10 °C or 10 K, or can't be computed.
# Seen: measurement computes in kelvins and shows the result in degrees: 20 °C - 10 °C is -263.15
# °C, the sum is 303.15 °C, half of 20 °C is -126.6 °C, and the mean, (a + b) / 2, is 15 °C. That
# the mean is right hides the rest.
# It matters for alarms and reports: a rise of 10 degrees is compared with a limit of 5, and never
# exceeds it.
# measurement 3.2.2; Temperature in the package's measurement/measures/temperature.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'measurement==3.2.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from measurement.measures import Temperature

warm, cold = Temperature(c=20), Temperature(c=10)
seen = {
    "difference": round((warm - cold).c, 2),
    "sum": round((warm + cold).c, 2),
    "half": round((warm / 2).c, 2),
    "mean": round(((warm + cold) / 2).c, 2),
    "a rise of 10 is more than 5": (warm - cold) > Temperature(c=5),
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "difference": -263.15,
    "sum": 303.15,
    "half": -126.57,
    "mean": 15.0,
    "a rise of 10 is more than 5": False,
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
