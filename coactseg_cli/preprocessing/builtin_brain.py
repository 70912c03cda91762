"""The builtin brain extraction: needs no download."""

from __future__ import annotations

from coactseg_cli.volumes import Volume


def find_brain(native: Volume) -> Volume:
    """To be written."""
    raise NotImplementedError
