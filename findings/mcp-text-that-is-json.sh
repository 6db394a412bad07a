#!/usr/bin/env bash
# Expected: a tool of an MCP server gets the string that the model sent, if its parameter is
# declared as `str | None`.
# Seen: the server parses it as JSON first, because it isn't exactly `str`. The text "null" arrives
# as None. A text that is a JSON array or object is refused as not being a string. With `text: str`,
# all three arrive as they are.
# It matters for tools that store notes, files or messages: an optional text parameter can't hold
# JSON, so a model that saves a configuration file gets an error that it can't repair, and the word
# "null" becomes an empty note.
# mcp 2.3.0; https://github.com/modelcontextprotocol/python-sdk, func_metadata.py, pre_parse_json
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mcp==2.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")


@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)


@server.tool()
def required(text: str) -> str:
    return repr(text)


async def call(tool, text):
    try:
        result = await server.call_tool(tool, {"text": text})
    except Exception as error:
        return "refused: " + str(error).splitlines()[2].strip()
    return result.content[0].text


async def main():
    seen = {}
    for tool in "optional", "required":
        seen[tool] = [
            await call(tool, text) for text in ("hello", "12", "null", '["a"]', '{"a": 1}')
        ]
        print(tool, *seen[tool], sep="\n  ")
    kept = ["'hello'", "'12'", "'null'", "'[\"a\"]'", "'{\"a\": 1}'"]
    refused = [
        text.startswith("refused: Input should be a valid string") for text in seen["optional"]
    ]
    if (
        seen["required"] != kept
        or seen["optional"][:3] != ["'hello'", "'12'", "None"]
        or refused != [False, False, False, True, True]
    ):
        sys.exit("The behaviour has changed.")


asyncio.run(main())
EOF
python program.py
