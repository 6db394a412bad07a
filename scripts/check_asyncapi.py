"""Validate ``App.asyncapi()`` with AsyncAPI's official parser, an npm package.

    npm install --prefix /tmp/parser @asyncapi/parser
    python scripts/check_asyncapi.py /tmp/parser tests.openapi.channels:Root

It needs node, so it isn't part of ``make test``. The exit status is 1 if a document has errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

# The parser is a CommonJS module, so this uses ``require``. Only errors are printed: a severity of
# 1 and above is only a warning.
CHECK = """
const { Parser } = require(process.argv[1] + "/node_modules/@asyncapi/parser");
let text = "";
process.stdin.on("data", (data) => (text += data)).on("end", async () => {
  const { document, diagnostics } = await new Parser().parse(text);
  for (const one of diagnostics) console.log(one.severity, one.message, one.path.join("."));
  const errors = diagnostics.filter((one) => one.severity === 0).length;
  console.log(`${document ? document.channels().length : 0} channels, ${errors} errors`);
  process.exit(document && !errors ? 0 : 1);
});
"""


def main(arguments: list[str]) -> int:
    """Check the documents of the applications on the command line. Return the exit code."""
    directory, *targets = arguments
    sys.path.insert(0, str(Path.cwd()))
    codes = []
    for target in targets:
        module, _, name = target.partition(":")
        found = getattr(import_module(module), name)
        document = (found() if isinstance(found, type) else found).asyncapi()
        command = ["node", "-e", CHECK, directory]
        done = subprocess.run(  # noqa: S603 - the input comes from the developer's own applications
            command, input=json.dumps(document), text=True, check=False
        )
        codes.append(done.returncode)
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
