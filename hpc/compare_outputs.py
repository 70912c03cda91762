"""Two output folders of one command, run in two places: compare_outputs.py ONE OTHER [PATH=PATH ...]. Exit code 0 where they hold the same.

Every file but those of logs/ must be in both. Images, tables and transforms must have the same bytes; text that names paths of the machine
(JSON, pages, README) must be the same once each PATH=PATH, a place of the one and the same place of the other, is taken for equal.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

TEXT = frozenset({".json", ".html", ".md"})


def files(root: Path) -> set[Path]:
    """Every file below a folder that is a result, as seen from it."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path for path in found if path.parts[0] != "logs"}


def differences(one: Path, other: Path, places: Mapping[str, str]) -> list[str]:
    """A line for each file that is missing or differs; places: path in `one` to path in `other`."""
    mine, theirs = files(one), files(other)
    lines = [f"only in {one}: {path}" for path in sorted(mine - theirs)] + [f"only in {other}: {path}" for path in sorted(theirs - mine)]
    return lines + [f"differs: {path}" for path in sorted(mine & theirs) if _content(one / path, places) != _content(other / path, {})]


def _content(path: Path, places: Mapping[str, str]) -> bytes:
    content = path.read_bytes()
    if path.suffix in TEXT:
        for here, there in places.items():
            content = content.replace(here.encode(), there.encode())
    return content


def main(words: list[str]) -> int:
    """Compare and say. Returns: the exit code."""
    one, other = Path(words[0]), Path(words[1])
    found = differences(one, other, dict(word.split("=", 1) for word in words[2:]))
    same = files(one) & files(other)
    exact = sum(path.suffix not in TEXT for path in same)
    print("\n".join(found) if found else f"{len(same)} files are the same, {exact} of them (every image, table, transform) byte for byte")
    return 1 if found or not exact else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
