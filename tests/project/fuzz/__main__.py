"""``scripts/fuzz 600``: each target in turn, for its share of the time, by Atheris (libFuzzer
for Python).

    python -m tests.project.fuzz --seconds 600 [--keep] [TARGET ...]

It prints executions, coverage and findings, and ends with 1 if there are any; the inputs are in
``build/fuzz``. ``--keep`` writes inputs that reach more to ``tests/project/corpora`` or, for a target
of the compatibility modules, to ``compat/tests/corpora``. ``test_corpora.py`` in the folders of the
targets replays them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from ast import literal_eval
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.project.fuzz.corpora import FOLDER, LONGEST_INPUT, inputs_of, write_inputs

FINDINGS = Path("build/fuzz")

# The modules with targets, and where their corpora are.
PLACES = {
    "tests.project.fuzz.targets": FOLDER,
    "compat.tests.fuzz.targets": FOLDER.parents[2] / "compat" / "tests" / "corpora",
}

# Bytes that parsers look at, which libFuzzer would need long to find. \x1e separates the fields of
# an input.
DICTIONARY = r"""
"\x1e" "&" "=" "%" "%2F" "%2e" "%00" "%C3%A9" ";" "; " "\"" "\\" "," ", " ":" "//" "../" "\xa0" "\x85" "\r\n" "\r" "\t"
"--B" "--B--" "--B\r\nContent-Disposition: form-data; name=\"a\"" "; filename=\"a\"" "filename*=utf-8''" "boundary="
"Content-Type: text/plain" "charset=utf-8" "bytes=" "-" "q=0.5" "*/*" "text/html" "application/json" "application/"
"[" "]" "{" "}" "null" "true" "1e5" "\\u0000" "\\ud800" "NaN" "-0" "1.0" "<a>" "<a:int>" "<a:path>" "<a:re:[a-z]+>"
"accept:" "cookie:" "x-token:" "content-type:" "application/x-www-form-urlencoded" "multipart/form-data; boundary=B"
"if-none-match:" "inner" "bind" "errors" "anything" "numbers" "order" "stated" "whole" "upload" "document" "fresh" "away"
"notes" "wild" "re" "?a=" "&b=" "__Host-" "http:" "https:" "//evil.com" "@" "127.0.0.1" "::1" "for=" "proto=https"
"authorization:" "Basic " "YTph" "Digest " "username=\"a\"" "realm=" "nonce=" "uri=" "response=" "qop=auth" "nc=" "cnonce="
"cache-control:" "max-age=" "pragma:" "no-cache" "=?utf-8?q?" "?=" "files/" "traceparent:" "00-" "tracestate:" "baggage:"
"x-request-id:" "=?" "charset=" "utf-7" "!a?" "export " "MICROPIE_PORT=" "${A}" "<n:int>" "uploaded" "tagged" "basic" "wild/"
"same-origin" "cross-site" "http://testserver" "GET / HTTP/1.1\r\n" "Host: a\r\n" "Transfer-Encoding: chunked\r\n"
"Content-Length: 1\r\n" "2026-01-31" "T13:45" "W/" "Sat, 21 Nov 2026 07:28:00 GMT" "P" "<script>" "tjson" "tbytes" "///" "trap" "leaf/" "popping/" "hidden" "\xcc\x81\xcc\x96"
"""


class Outcome(NamedTuple):
    """What libFuzzer says of one target. ``edges``: of micropie's code."""

    executions: int
    edges: int
    findings: list[Path]


def module_of_targets() -> dict[str, str]:
    """Map each target to its module in ``PLACES``."""
    modules: dict[str, str] = {}
    for module in PLACES:
        targets: dict[str, Callable[[bytes], None]] = import_module(module).TARGETS
        modules |= dict.fromkeys(targets, module)
    return modules


def fuzz(module: str, target: str, seconds: int, keep: bool) -> Outcome:
    """Run one target for ``seconds``, or until its first finding."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, smallest, words = (
            Path(folder, "corpus"),
            Path(folder, "smallest"),
            Path(folder, "words"),
        )
        corpus.mkdir()
        smallest.mkdir()
        found_words = (
            literal_eval(f"b{word}") for word in re.findall(r'"(?:\\.|[^"\\])*"', DICTIONARY)
        )
        words.write_text(
            "".join(
                '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in found_words
            )
        )
        for data in inputs_of(target, PLACES[module]):
            (corpus / sha256(data).hexdigest()).write_bytes(data)
        found = FINDINGS / target
        found.mkdir(parents=True, exist_ok=True)
        before = {*found.iterdir()}
        output = _libfuzzer(
            module,
            target,
            f"-max_total_time={seconds}",
            f"-dict={words}",
            f"-artifact_prefix={found}/",
            str(corpus),
        )
        findings = sorted({*found.iterdir()} - before)
        if findings:
            print(
                "\n".join(line for line in output.splitlines() if not line.startswith("#"))[-6000:]
            )
        if keep and not findings:
            _libfuzzer(
                module, target, "-merge=1", "-max_total_time=120", str(smallest), str(corpus)
            )
            reaching = (file.read_bytes() for file in smallest.iterdir())
            inputs = [*inputs_of(target, PLACES[module]), *reaching]
            write_inputs(target, inputs, PLACES[module])
        executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
        edges = re.findall(r"cov: (\d+)", output)
        return Outcome(
            int(executions[1]) if executions else 0, int(edges[-1]) if edges else 0, findings
        )


def _libfuzzer(module: str, target: str, *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "tests.project.fuzz.worker",
        module,
        target,
        f"-max_len={LONGEST_INPUT}",
        "-timeout=20",
    ]
    done = subprocess.run(
        [*command, "-rss_limit_mb=2048", "-print_final_stats=1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if "stat::" not in done.stdout and "-merge=1" not in options:
        raise SystemExit(done.stdout)
    return done.stdout


def main() -> int:
    """Fuzz, print a line for each target, and return the exit code."""
    modules = module_of_targets()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument("--keep", action="store_true", help="write what was found to the corpora")
    parser.add_argument("targets", nargs="*", choices=[[], *modules], metavar="TARGET")
    arguments = parser.parse_args()
    names = arguments.targets or [*modules]
    share = max(arguments.seconds // len(names), 1)
    print(f"{'target':24} {'executions':>12} {'edges':>7}  findings", flush=True)
    total, findings = 0, 0
    for name in names:
        outcome = fuzz(modules[name], name, share, arguments.keep)
        total, findings = total + outcome.executions, findings + len(outcome.findings)
        shown = ", ".join(map(str, outcome.findings)) or "none"
        print(f"{name:24} {outcome.executions:12,} {outcome.edges:7,}  {shown}", flush=True)
    print(f"{'all':24} {total:12,} {'':7}  {findings}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
