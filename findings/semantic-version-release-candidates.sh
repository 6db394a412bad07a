#!/usr/bin/env bash
# Expected: an npm range without a pre-release matches no pre-release. <2.0.0 doesn't include
# 2.0.0-rc.1, as npm's documentation explains ("Prerelease Tags").
# Seen: semantic-version's NpmSpec("<2.0.0") includes 2.0.0-rc.1, and <1.2 includes 1.2.0-alpha.
# With a lower bound beside it, as in ">=1.0.0 <2.0.0", it follows npm. ">= 1.0.0", with a space,
# which npm accepts, is a ValueError. node-semver, beside it, has npm's results.
# It matters because "<2.0.0" is written to stay away from version 2: the program gets its first
# candidate.
# semantic-version 2.10.0, node-semver 0.9.1; https://github.com/npm/node-semver#prerelease-tags
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'semantic-version==2.10.0' 'node-semver==0.9.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import nodesemver
import semantic_version

NAMES = ("semantic-version", "node-semver")
EXPECTED = {  # range and version: results of both
    ("<2.0.0", "2.0.0-rc.1"): [True, False],
    ("<1.2", "1.2.0-alpha"): [True, False],
    (">=1.0.0 <2.0.0", "2.0.0-rc.1"): [False, False],
    ("^1.2.3", "2.0.0-rc.1"): [False, False],
    ("^1.2.3", "1.3.0-beta"): [False, False],
    (">= 1.0.0", "1.2.3"): ["ValueError", True],
}
seen = {}
for text, version in EXPECTED:
    try:
        matches = semantic_version.Version(version) in semantic_version.NpmSpec(text)
    except ValueError as error:
        matches = type(error).__name__
    seen[text, version] = [matches, nodesemver.satisfies(version, text, loose=False)]
    print(f"{text}: {version}", dict(zip(NAMES, seen[text, version], strict=True)))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
