"""A certificate for a server of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of localhost and its key, ``cert.pem`` and ``key.pem`` in a folder, and
    return their paths.
    """
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj"]
    command += ["/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"
