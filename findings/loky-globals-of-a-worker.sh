#!/usr/bin/env bash
# Expected: a worker process keeps its global variables between two tasks, so a program loads a
# model or opens a connection at the first task, and finds it at the next.
# Seen: in a worker of loky each task begins with the globals of the main process, if the function
# is defined in the script that runs. The process is the same. cloudpickle sends such a function
# together with its globals. For a function of an imported module, and in concurrent.futures, they
# are kept.
# It matters because scripts and notebooks define their functions there: a cache is always empty,
# the model is loaded for each task, and nothing but the time shows it. joblib's default backend is
# loky.
# loky 3.7.0, joblib 1.6.0; https://github.com/cloudpipe/cloudpickle and
# https://loky.readthedocs.io/en/stable/ ("Transparent cloudpickle integration")
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'loky==3.7.0' 'joblib==1.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import concurrent.futures
import sys
from pathlib import Path

import joblib
import loky

calls = 0


def count(_):
    global calls
    calls += 1
    return calls


if __name__ == "__main__":
    Path("module.py").write_text("calls = 0\n" + Path(__file__).read_text().split("\n\n\n")[1])
    import module

    seen = {}
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        seen["concurrent.futures"] = list(pool.map(count, range(3)))
    with loky.ProcessPoolExecutor(1) as pool:
        seen["loky"] = list(pool.map(count, range(3)))
        seen["loky, function of a module"] = list(pool.map(module.count, range(3)))
    with joblib.Parallel(2, batch_size=1) as parallel:
        seen["joblib"] = parallel(joblib.delayed(count)(number) for number in range(6))
    loky.get_reusable_executor().shutdown()
    for name, counts in seen.items():
        print(f"{name}: {counts}")
    if list(seen.values()) != [[1, 2, 3], [1, 1, 1], [1, 2, 3], [1] * 6]:
        sys.exit("The behaviour has changed.")
EOF
python program.py
