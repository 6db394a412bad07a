#!/usr/bin/env bash
# Expected: with the rules of a .gitignore "ignore all, but neither folders nor .txt files", x/pie.c
# is ignored, as git does. The last pattern that matches a path decides, and "!*/" matches folders,
# not the files in them.
# Seen: pathspec's usual call, PathSpec.from_lines("gitwildmatch", ...), doesn't ignore it: a
# pattern for a folder holds for all below it, also with "!". At the top, pie.c is ignored.
# GitIgnoreSpec, in the same package, follows git.
# It matters for deployments and packages with a list of allowed files: in folders, every file is
# allowed.
# pathspec 1.1.1, beside git; https://git-scm.com/docs/gitignore#_pattern_format
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pathspec==1.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import pathlib
import subprocess
import sys
import warnings

import pathspec

LINES = ["*", "!*/", "!*.txt"]
PATHS = ["pie.c", "pie.txt", "x/pie.c", "x/pie.txt"]
warnings.simplefilter("ignore")  # "gitignore" is the new name of "gitwildmatch"
specs = [
    pathspec.PathSpec.from_lines("gitwildmatch", LINES),
    pathspec.PathSpec.from_lines("gitignore", LINES),
    pathspec.GitIgnoreSpec.from_lines(LINES),
]
root = pathlib.Path("pies")
(root / "x").mkdir(parents=True)
subprocess.run(["git", "init", "--quiet", root], check=True)
(root / ".gitignore").write_text("\n".join(LINES) + "\n")
seen = {}
for path in PATHS:
    git = subprocess.run(["git", "-C", root, "check-ignore", "--quiet", path]).returncode == 0
    seen[path] = [git, *(spec.match_file(path) for spec in specs)]
    names = ("git", "gitwildmatch", "gitignore", "GitIgnoreSpec")
    print(path, "is ignored?", dict(zip(names, seen[path], strict=True)))
if seen != {
    "pie.c": [True, True, True, True],
    "pie.txt": [False, False, False, False],
    "x/pie.c": [True, False, False, True],
    "x/pie.txt": [False, False, False, False],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
