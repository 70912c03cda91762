"""Fetch HD-BET's parameter files into an image while it is built: fetch_weights.py URL SHA256 FOLDER. The URL gives a zip."""

from __future__ import annotations

import hashlib
import io
import sys
import urllib.request
import zipfile
from pathlib import Path


def fetch(url: str, sha256: str, folder: Path) -> list[str]:
    """Download, verify, unpack. Returns: the names. Raises: ValueError where the hash differs or the file is no zip."""
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the builder of the image names it, and the hash is checked
        content: bytes = answer.read()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        msg = f"{url}: SHA-256 is {found}, wanted {sha256}; {len(content)} bytes. Nothing was kept."
        raise ValueError(msg)
    if not zipfile.is_zipfile(io.BytesIO(content)):
        msg = f"{url}: {len(content)} bytes that are no zip file. Name the archive of HD-BET's parameter files."
        raise ValueError(msg)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
        return archive.namelist()


if __name__ == "__main__":
    try:
        print("\n".join(fetch(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
    except (OSError, ValueError) as error:
        sys.exit(f"fetch_weights.py: {error}")
