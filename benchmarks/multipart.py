"""`python -m benchmarks.multipart`: the form parser in process, beside the push parser of the
package `multipart` alone, which it is made of.

One file of 64 MiB in pieces of 64 KiB, as servers pass them on. Nothing is written to the disk
(`UploadFile.write` only counts), so that only parsers are compared. A memory copy of the same
pieces into 64 MiB of existing memory shows the upper limit of the machine. Rounds are interleaved;
the best of each counts.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from unittest import mock

from multipart import PushMultipartParser

from micropie._core.http.forms.multipart import MultipartParser, PartParser
from micropie._core.http.forms.uploads import UploadFile

MEBIBYTE = 1024 * 1024
SIZE = 64 * MEBIBYTE
PIECE = 64 * 1024
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gWA"
RATIO = 0.8  # of the push parser's rate
SHARE = 0.3  # of the memory copy's rate


def body(content: bytes) -> list[bytes]:
    """Return a form with one file, in pieces."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    ).encode()
    whole = head + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]


def ours(pieces: list[bytes]) -> int:
    parser = MultipartParser(BOUNDARY)
    for piece in pieces:
        parser.feed(piece)
    form = parser.finish()
    form.close()
    return form.files["f"][0].size


def our_parts(pieces: list[bytes]) -> int:
    parser, size = PartParser(BOUNDARY), 0
    for piece in pieces:
        for event in parser.events(piece):
            if type(event) is bytes:
                size += len(event)
    return size


def theirs(pieces: list[bytes]) -> int:
    size = 0
    with PushMultipartParser(BOUNDARY) as parser:
        for piece in pieces:
            for event in parser.parse(piece):
                if type(event) is bytes:
                    size += len(event)
    return size


COPY = memoryview(bytearray(SIZE + MEBIBYTE))


def copied(pieces: list[bytes]) -> int:
    end = 0
    for piece in pieces:
        COPY[end : end + len(piece)] = piece
        end += len(piece)
    return SIZE


CONTENDERS: dict[str, Callable[[list[bytes]], int]] = {
    "micropie's form parser": ours,
    "micropie's parts": our_parts,
    "multipart's push parser": theirs,
    "memory copy": copied,
}


def count(self: UploadFile, data: bytes) -> None:
    self.size += len(data)


def measure(pieces: list[bytes], rounds: int) -> dict[str, float]:
    """Return MB per second of each contender, the best of interleaved rounds."""
    best: dict[str, float] = dict.fromkeys(CONTENDERS, 0)
    for _ in range(rounds):
        for name, run in random.sample(list(CONTENDERS.items()), len(CONTENDERS)):
            start = time.perf_counter()
            size = run(pieces)
            best[name] = max(best[name], SIZE / 1e6 / (time.perf_counter() - start))
            if size != SIZE:
                raise RuntimeError(f"{name} found {size} bytes")
    return best


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multipart", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=60, help="rounds; the best counts (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    options = parser.parse_args()
    contents = {
        "random bytes": os.urandom(SIZE),
        "line ends": b"\r\n" * (SIZE // 2),
        "text": b"All work and no\n" * (SIZE // 16),
    }
    missed = False
    for title, content in contents.items():
        with mock.patch.object(UploadFile, "write", count):
            best = measure(body(content), options.rounds)
        ratio, share = (
            best["micropie's form parser"] / best[name]
            for name in ("multipart's push parser", "memory copy")
        )
        missed = missed or ratio < RATIO or (title == "random bytes" and share < SHARE)
        print(f"{title}: " + ", ".join(f"{name} {rate:.0f} MB/s" for name, rate in best.items()))
        print(f"    {ratio:.2f} of the push parser, {share:.2f} of the memory copy")
    goals = f"{RATIO:g} of the push parser, {SHARE:g} of the copy with random bytes"
    print(f"Goals: {goals}: {'MISSED' if missed else 'met'}.")
    return int(missed and options.check)


if __name__ == "__main__":
    raise SystemExit(main())
