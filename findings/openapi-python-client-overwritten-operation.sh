#!/usr/bin/env bash
# Expected: the generated client has a function for each operation of the description.
# Seen: of the operations `getPie` and `get_pie` with the same tag only the last is generated. Both
# become the file get_pie.py, and the second overwrites the first. The generator ends with 0 and
# reports nothing, although it reports other operations that it leaves out.
# It matters because operation identifiers are case-sensitive in OpenAPI, and descriptions that
# grew, or were merged, have both spellings: the client calls the old address with the new
# function's name.
# openapi-python-client 0.29.1; https://spec.openapis.org/oas/v3.1.1.html#operation-object
# (operationId); https://github.com/openapi-generators/openapi-python-client
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'openapi-python-client==0.29.1'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import re
import subprocess
import sys
from pathlib import Path

OPERATIONS = {"/pies/{id}": "getPie", "/old/pies/{id}": "get_pie", "/pies": "listPies"}
IDENTIFIER = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
description = {
    "openapi": "3.1.0",
    "info": {"title": "Pies", "version": "1"},
    "paths": {
        path: {
            "get": {
                "operationId": operation,
                "tags": ["pies"],
                "parameters": [IDENTIFIER] if "{id}" in path else [],
                "responses": {"204": {"description": "nothing"}},
            }
        }
        for path, operation in OPERATIONS.items()
    },
}
Path("pies.json").write_text(json.dumps(description))
Path("config.yml").write_text("post_hooks: []\n")
command = "openapi-python-client", "generate", "--path", "pies.json", "--config", "config.yml"
done = subprocess.run(
    [*command, "--meta", "none", "--output-path", "client"], capture_output=True, text=True
)
print(done.stdout + done.stderr, "exit status ", done.returncode, sep="")
seen = {}
for file in Path("client/api/pies").glob("[a-z]*.py"):
    seen[file.name] = re.findall('"url": "([^"]+)"', file.read_text())
print(seen)
if (
    done.returncode
    or re.search("warning|error", done.stdout + done.stderr, re.IGNORECASE)
    or seen != {"get_pie.py": ["/old/pies/{id}"], "list_pies.py": ["/pies"]}
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
