#!/usr/bin/env bash
# Expected: each submit() of a concurrent.futures.Executor runs the function, even if an earlier call
# had equal arguments.
# Seen: the executor of Client.get_executor() runs equal calls once, and gives each caller the same
# result. Dask assumes that functions are pure, and the executor inherits this default.
# It matters where this executor replaces a ThreadPoolExecutor: of three jobs that append a row,
# fetch the next invoice number or draw a random number, two never run. get_executor(pure=False)
# runs each of them.
# distributed 2026.8.0; https://distributed.dask.org/en/stable/api.html#distributed.Client.submit
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'distributed==2026.8.0'
python --version
pip freeze

cat >invoices.py <<'EOF'
import itertools

numbers = itertools.count(1)


def next_number(customer):
    return next(numbers)
EOF
cat >program.py <<'EOF'
import concurrent.futures
import sys

import distributed
from invoices import next_number


def submit_three(executor):
    futures = [executor.submit(next_number, "ann") for _ in range(3)]
    return [future.result() for future in futures]


if __name__ == "__main__":
    one_thread = {"processes": False, "n_workers": 1, "threads_per_worker": 1}
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        threads = submit_three(executor)
    with distributed.Client(**one_thread, dashboard_address=None) as client:
        dask = submit_three(client.get_executor())
        impure = submit_three(client.get_executor(pure=False))
    print("ThreadPoolExecutor:      ", threads)
    print("get_executor():          ", dask)
    print("get_executor(pure=False):", impure)
    if (threads, dask, sorted(impure)) != ([1, 2, 3], [4, 4, 4], [5, 6, 7]):
        sys.exit("The behaviour has changed.")
EOF
python program.py
