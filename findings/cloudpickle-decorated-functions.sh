#!/usr/bin/env bash
# Expected: cloudpickle sends each function of a script to another process by value, also one with a
# decorator of functools. It does so for plain functions, lambdas, closures and functools.partial.
# Seen: a function with @lru_cache is sent as its name. dumps() succeeds, and the other process
# raises an AttributeError, because its __main__ has no such function. With @singledispatch, dumps()
# raises a TypeError ("cannot pickle 'weakref.ReferenceType' object"). The same functions work if
# they are in a module that the other process can import.
# It matters for Dask, joblib and Spark: adding @lru_cache to a helper in a script or notebook
# breaks the call that uses it, and the error is raised in a worker, far from the script.
# cloudpickle 3.1.3; https://github.com/cloudpipe/cloudpickle (README);
# https://docs.python.org/3/library/functools.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cloudpickle==3.1.3'
python --version
pip freeze

cat >program.py <<'EOF'
import functools
import subprocess
import sys

import cloudpickle

LOAD = "import cloudpickle, sys; print(cloudpickle.loads(sys.stdin.buffer.read())(5))"


def plain(number):
    return number * 2


@functools.wraps(plain)
def wrapped(number):
    return plain(number)


@functools.lru_cache
def cached(number):
    return number * 2


def uses_cached(number):
    return cached(number)


@functools.singledispatch
def dispatched(number):
    return number * 2


seen = {}
for name, function in {
    "plain": plain,
    "lambda": lambda number: number * 2,
    "partial": functools.partial(pow, exp=2),
    "wraps": wrapped,
    "lru_cache": cached,
    "a call of a function with lru_cache": uses_cached,
    "singledispatch": dispatched,
}.items():
    try:
        data = cloudpickle.dumps(function)
    except TypeError as error:
        seen[name] = f"dumps: {error}"
    else:
        command = [sys.executable, "-c", LOAD]
        done = subprocess.run(command, input=data, capture_output=True)
        seen[name] = (done.stdout or done.stderr).decode().splitlines()[-1]
    print(f"{name}: {seen[name]}")
missing = "AttributeError: Can't get attribute 'cached' on <module '__main__' (built-in)>"
if [*seen.values()] != [
    "10",
    "10",
    "25",
    "10",
    missing,
    missing,
    "dumps: cannot pickle 'weakref.ReferenceType' object",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
