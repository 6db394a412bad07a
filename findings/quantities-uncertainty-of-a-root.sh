#!/usr/bin/env bash
# Expected: a quantity with an uncertainty keeps one when a function is applied to it: the root of
# 4.0 +- 0.4 is 2.0 +- 0.1, and an uncertainty is never negative.
# Seen: with the package quantities, np.sqrt has the uncertainty 0, and so have abs and np.exp. The
# power of 0.5 is right. The power of -1 has -0.025, and a product with a negative factor a negative
# uncertainty, too.
# It matters for results with error bars: those that look exact are the wrong ones.
# quantities 0.16.4; https://python-quantities.readthedocs.io/en/latest/user/tutorial.html;
# https://www.bipm.org/en/committees/jc/jcgm/publications (JCGM 100, 5.1.2)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'quantities==0.16.4' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import numpy
import quantities

length = quantities.UncertainQuantity(4.0, "m", 0.4)
other = quantities.UncertainQuantity(-3.0, "m", 0.3)
number = quantities.UncertainQuantity(1.0, "dimensionless", 0.1)
RESULTS = {
    "numpy.sqrt(4.0 +- 0.4)": numpy.sqrt(length),
    "(4.0 +- 0.4) ** 0.5": length**0.5,
    "abs(4.0 +- 0.4)": abs(length),
    "numpy.exp(1.0 +- 0.1)": numpy.exp(number),
    "(4.0 +- 0.4) ** -1": length**-1,
    "1 / (4.0 +- 0.4)": 1 / length,
    "(4.0 +- 0.4) * (-3.0 +- 0.3)": length * other,
}
seen = {}
for text, result in RESULTS.items():
    seen[text] = round(float(result.uncertainty), 3)
    print(f"{text} is {float(result.magnitude):.3f} +- {seen[text]}")
if [*seen.values()] != [0.0, 0.1, 0.0, 0.0, -0.025, 0.025, -1.697]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
