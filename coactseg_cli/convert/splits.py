"""Which cases the published experiments trained and validated on; only values.

Source: data/train.list and data/val.list of github.com/ycwu1997/CoactSeg (commit 1e4fcea). The eight validation cases chose the
checkpoint and are those of the paper's tables; all of them hold new lesions.
"""

from __future__ import annotations

TRAIN, VALIDATION, TEST = "train", "validation", "test"

VALIDATION_PAIRS = frozenset(f"{number:03d}" for number in (13, 26, 27, 91, 94, 95, 99, 100))
# fmt: off
TRAIN_PAIRS = frozenset(f"{number:03d}" for number in (
    15, 16, 18, 19, 20, 21, 24, 29, 30, 32, 35, 37, 39, 43, 47, 48, 49, 51, 52, 57, 61, 68, 69, 70, 74, 77, 83, 84, 88, 89, 90, 96,
))
# fmt: on
TRAIN_SINGLES = frozenset(f"ms23{number:03d}" for number in range(1, 31))
VALIDATION_SINGLES = frozenset(f"ms23{number:03d}" for number in range(31, 39))


def published(label: str) -> str | None:
    """The part of a case in the published split (train or validation); None for a case that is in neither list."""
    if label in TRAIN_PAIRS | TRAIN_SINGLES:
        return TRAIN
    return VALIDATION if label in VALIDATION_PAIRS | VALIDATION_SINGLES else None


def of_msseg2(label: str) -> str:
    """As published; the 40 training patients of MSSEG-2 are all in the lists, so that any other is of its testing set."""
    return published(label) or TEST
