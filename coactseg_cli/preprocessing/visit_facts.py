"""What the quality checks read of one prepared visit; arrays and numbers, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coactseg_cli.volumes import Volume


@dataclass(frozen=True, slots=True, eq=False)
class VisitFacts:
    """One visit after prep."""

    session: str | None
    native: Volume  # (X, Y, Z) the scan on its own grid, with its skull, bias corrected where asked for
    native_brain: np.ndarray  # bool, the same grid
    image: Volume  # (X, Y, Z) on the prepared grid
    brain: np.ndarray  # bool, the same grid
    orig_from_individual: np.ndarray  # (4, 4) RAS mm, points of the prepared grid's space to points of the scan's
    asymmetry_mm: float | None = None  # registration there and back; None: not made, or not recorded
