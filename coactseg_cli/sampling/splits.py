"""Who is trained on and who is validated on; the unit is the patient, who is never on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling.patches import Case


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Cases of the two sides."""

    training: tuple[Case, ...]
    validation: tuple[Case, ...]


def patient_of(case: Case) -> str:
    """'sub-01' of 'sub-01_ses-02_pair': participants of one label are one patient, also across data sets."""
    return case.name.split("_")[0]


def split_by_label(cases: Sequence[Case], validation: Iterable[str]) -> Split:
    """Put the named participants (with or without 'sub-') on the validation side. Raises: InvalidConfig for one that is not there."""
    wanted = {f"sub-{label.removeprefix('sub-')}" for label in validation}
    there = {patient_of(c) for c in cases}
    if absent := sorted(wanted - there):
        msg = f"--validation names {', '.join(absent)}; prepared are {', '.join(sorted(there)) or 'none'}. Correct the name, or prepare it."
        raise InvalidConfig(msg)
    return Split(tuple(c for c in cases if patient_of(c) not in wanted), tuple(c for c in cases if patient_of(c) in wanted))


def split_by_fold(cases: Sequence[Case], fold: tuple[int, int], seed: int) -> Split:
    """Part k of n on the validation side: patients are shuffled, then dealt like cards, those with the same kinds of labels together.

    Every patient is on the validation side of exactly one of the n folds.

    Raises: InvalidConfig where there are fewer patients than parts.
    """
    k, n = fold
    kinds = _kinds(cases)
    if len(kinds) < n:
        msg = f"--fold {k}/{n} needs at least {n} patients with labels; there are {len(kinds)}. Use fewer folds."
        raise InvalidConfig(msg)
    patients = sorted(kinds)
    order = np.random.default_rng(seed).permutation(len(patients))
    dealt = sorted((patients[i] for i in order), key=lambda patient: kinds[patient])  # a stable sort keeps the shuffle within a kind
    return split_by_label(cases, [patient for place, patient in enumerate(dealt) if place % n == k - 1])


def _kinds(cases: Sequence[Case]) -> Mapping[str, tuple[str, ...]]:
    """Patient to the kinds of labels it has; patients without any are on no validation side."""
    kinds: dict[str, set[str]] = {}
    for case in cases:
        found = {f"{'pair' if case.is_pair else 'single'} {name}" for name in case.labelled}
        if found:
            kinds.setdefault(patient_of(case), set()).update(found)
    return {patient: tuple(sorted(found)) for patient, found in kinds.items()}


def require_apart(split: Split) -> None:
    """Raises: InvalidConfig where one patient, or one and the same scan under two names, is on both sides."""
    training = {patient_of(c) for c in split.training}
    if both := sorted(training & {patient_of(c) for c in split.validation}):
        msg = (
            f"{', '.join(both)} would be trained on and validated on: the same label is taken for the same patient, also in two data sets. "
            "Leave it out on one side (--exclude), or rename the participants of one data set."
        )
        raise InvalidConfig(msg)
    seen = {mark: c.name for c in split.training for mark in c.marks}
    for case in split.validation:
        for mark in case.marks:
            if mark in seen:
                msg = (
                    f"{case.name} of the validation side is the same scan as {seen[mark]} of the training side. Leave one out (--exclude)."
                )
                raise InvalidConfig(msg)
