#!/usr/bin/env bash
# Expected: two functions that joblib.Memory caches have two caches, even if one factory returned
# both, each with its own value of a variable.
# Seen: both share one. The key is the function's name, its source and its arguments. A variable of
# the enclosing function isn't part of it, so the second function returns the results of the first.
# Neither an exception nor a warning follows.
# It matters for factories, for example of one loader per server or per unit: the results are wrong,
# and stay wrong in the next run, because the cache is on the disk.
# joblib 1.6.0; https://joblib.readthedocs.io/en/stable/memory.html#gotchas (functions of one name);
# https://github.com/joblib/joblib/blob/main/joblib/memory.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'joblib==1.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import warnings

import joblib

memory = joblib.Memory("cache", verbose=0)


def make(factor):
    @memory.cache
    def convert(value):
        return value * factor

    return convert


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    double, triple = make(2), make(3)
    seen = [double(10), triple(10), triple(11), double(11)]
print("double(10), triple(10), triple(11), double(11):", seen)
print("warnings:", [str(warning.message) for warning in caught])
if seen != [20, 20, 33, 33] or caught:
    sys.exit("The behaviour has changed.")
EOF
python program.py
