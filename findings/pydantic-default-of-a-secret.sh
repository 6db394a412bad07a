#!/usr/bin/env bash
# Expected: a client that is generated from a model's JSON Schema, and leaves out an optional field,
# gets the field's default, as a client does that sends {"name": "ann"}.
# Seen: pydantic describes the default of a SecretStr as "**********" (ten stars). The client that
# openapi-python-client generates sends these stars, and the server takes them for the value.
# It matters for models with an optional secret, such as settings with a token from the environment:
# nothing fails until the token is used. datamodel-code-generator writes the same default.
# pydantic 2.14.4, openapi-python-client 0.29.1, datamodel-code-generator 0.89.0; JSON Schema 2020-12,
# validation, section 9.2 ("default" is a default value for the instance);
# https://docs.pydantic.dev/latest/api/json_schema/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pydantic==2.14.4' 'openapi-python-client==0.29.1' \
    'datamodel-code-generator==0.89.0'
python --version
pip freeze

cat >model.py <<'EOP'
from pydantic import BaseModel, SecretStr


class Account(BaseModel):
    name: str
    token: SecretStr = SecretStr("from-the-environment")
EOP
cat >document.py <<'EOP'
import json

from model import Account

schema = Account.model_json_schema()
body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Account"}}}}
add = {"operationId": "add", "requestBody": body, "responses": {"204": {"description": "done"}}}
document = {
    "openapi": "3.1.0",
    "info": {"title": "Accounts", "version": "1"},
    "paths": {"/": {"post": add}},
    "components": {"schemas": {"Account": schema}},
}
print("schema:", json.dumps(schema["properties"]["token"]))
open("openapi.json", "w").write(json.dumps(document))
EOP
python document.py
openapi-python-client generate --path openapi.json --output-path client --overwrite --meta none \
    >log 2>&1 || { cat log; exit 1; }
datamodel-codegen --input openapi.json --input-file-type openapi --output generated.py \
    --output-model-type pydantic_v2.BaseModel >log 2>&1 || { cat log; exit 1; }
grep -n "token" generated.py

cat >program.py <<'EOP'
import sys

from client.models import Account as Generated
from model import Account

plain, sent = {"name": "ann"}, Generated(name="ann").to_dict()
print("the generated client sends", sent)
tokens = [Account.model_validate(one).token.get_secret_value() for one in (plain, sent)]
print("the server reads", tokens)
if tokens != ["from-the-environment", "*" * 10]:
    sys.exit("The behaviour has changed.")
EOP
python program.py
