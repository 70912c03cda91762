"""Cases side by side: order, how many at once, and what one bad case does to the others."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bids_app.cases import LabelKind, MaskPair
from coactseg_cli import evaluate_cases
from coactseg_cli.errors import GridMismatch
from coactseg_cli.evaluate_cases import CaseOutcome, Scoring, score_pairs
from coactseg_cli.evaluate_files import LoadedCase, Reading
from coactseg_cli.metrics.case import CasePair
from coactseg_cli.metrics.conventions import Rules
from coactseg_cli.volumes import Volume

SCORING = Scoring(rules=Rules(), reading=Reading())
PAIRS = [MaskPair(f"sub-{n}", LabelKind.NEW, Path(f"p{n}"), Path(f"r{n}")) for n in range(6)]


class Loader:
    """Stands for load_case: counts how many cases are in work, and fails where it is told to."""

    def __init__(self, faults: dict[str, Exception] | None = None) -> None:
        self.faults = faults or {}
        self.at_once, self.most = 0, 0
        self.lock = threading.Lock()

    def __call__(self, pair: MaskPair, reading: Reading) -> LoadedCase:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02 * (6 - int(pair.case[-1])))  # the first takes longest
        with self.lock:
            self.at_once -= 1
        if pair.case in self.faults:
            raise self.faults[pair.case]
        mask = Volume(np.ones((2, 3, 4), bool), np.eye(4))
        return LoadedCase(CasePair(pair.case, pair.kind, mask, mask, (1.0, 1.0, 1.0)), resampled=False)


@pytest.mark.parametrize("at_once", [1, 3])
def test_outcomes_keep_the_order_and_the_width(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    loader, told = Loader(), list[CaseOutcome]()
    monkeypatch.setattr(evaluate_cases, "load_case", loader)
    outcomes = score_pairs(PAIRS, SCORING, at_once, told.append)
    assert [outcome.pair.case for outcome in outcomes] == [pair.case for pair in PAIRS]
    assert sorted(outcome.pair.case for outcome in told) == [pair.case for pair in PAIRS]
    assert loader.most == at_once


def test_a_fault_is_the_fault_of_its_case_only(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {"sub-1": GridMismatch("another grid"), "sub-3": MemoryError(), "sub-4": ZeroDivisionError("oh")}
    monkeypatch.setattr(evaluate_cases, "load_case", Loader(faults))
    outcomes = score_pairs(PAIRS, SCORING, 2)
    assert [outcome.result is not None for outcome in outcomes] == [True, False, True, False, False, True]
    reasons = [outcome.not_scored.reason for outcome in outcomes if outcome.not_scored]
    assert reasons[:2] == ["another grid", "MemoryError"]
    assert reasons[2].startswith("unexpected ZeroDivisionError in test_evaluate_cases.py, line ")


def test_an_interruption_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, told = Loader(), list[CaseOutcome]()
    monkeypatch.setattr(evaluate_cases, "load_case", loader)

    def interrupted(outcome: CaseOutcome) -> None:
        told.append(outcome)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_pairs(PAIRS * 20, SCORING, 2, interrupted)
    assert len(told) == 1


def test_pairs_without_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_cases, "load_case", Loader())
    pairs = [MaskPair("sub-1", LabelKind.NEW, None, Path("r")), MaskPair("sub-2", LabelKind.NEW, Path("p"), None)]
    assert [o.not_scored.status for o in score_pairs(pairs, SCORING) if o.not_scored and o.result is None] == ["missing", "surplus"]
