"""From maps to figures: every number here is worked out on paper."""

import math

import numpy as np
import pytest

from benchmarks.accuracy import calibration as cal
from benchmarks.accuracy import summary
from benchmarks.accuracy.candidates import (
    BINS,
    Histogram,
    Method,
    Piece,
    by_difference,
    by_network,
    by_subtraction,
    histogram,
    logits,
    pieces_of,
)
from benchmarks.accuracy.evaluation import components_of, jobs, run, score_pair
from benchmarks.accuracy.injection import make_pair
from benchmarks.accuracy.models import load_unseen, parse_models
from benchmarks.accuracy.results import CaseResult, Found, Target, is_done, read_result, write_result
from benchmarks.accuracy.summary import Point, outcome
from coactseg_cli.network.checkpoint import CheckpointInfo, save_model
from coactseg_cli.network.model import VNet
from coactseg_cli.targets import IGNORE


def test_pieces_with_what_they_touch():
    mask, reference = np.zeros((12, 10, 8), bool), np.zeros((12, 10, 8), np.int16)
    mask[1:3, 1:3, 1:3] = True  # 8 voxels: 4 of lesion 5, 2 unknown
    reference[1, 1:3, 1:3] = 5
    reference[2, 1, 1:3] = IGNORE
    mask[8:10, 8, 1] = True  # 2 voxels: too small
    mask[8, 1:5, 5] = True  # 4 voxels, alone
    found = pieces_of(Method("made", (0.5,), lambda _: mask), reference)
    assert found == [Piece(0.5, 6.0, {5: 4.0}, 2.0), Piece(0.5, 4.0, {}, 0.0)]
    assert pieces_of(Method("empty", (0.5,), lambda _: mask & False), reference) == []


def test_pieces_of_a_map_have_a_peak_and_may_be_asked_for_one():
    probability, brain = np.zeros((12, 10, 8)), np.ones((12, 10, 8), bool)
    probability[1:3, 1:3, 1:3] = 0.6
    probability[2, 2, 2] = 0.97
    probability[8, 1:5, 5] = 0.7
    pieces = [p for p in pieces_of(by_network("network", probability, brain), np.zeros(brain.shape, np.int16)) if p.threshold == 0.5]
    assert [(p.volume_mm3, p.peak) for p in pieces] == [(8.0, 0.97), (4.0, 0.7)]
    found = found_with(pieces, [])
    assert [outcome(found, Point(0.5, peak=peak)).n_false for peak in (0.0, 0.7, 0.71, 0.97, 0.98)] == [2, 2, 1, 1, 0]
    points = summary.points_of("network", (0.5, 0.55, 0.95), (3.0,))
    assert Point(0.5, 3.0, 0.95) in points
    assert not [p for p in points if p.peak and (p.threshold == 0.55 or p.peak <= p.threshold)]
    assert not [p for p in summary.points_of("subtraction", (0.5,), (3.0,)) if p.peak]


def test_subtraction_leaves_what_was_there_before():
    brain = np.ones((1, 1, 4), bool)
    before, after = np.array([[[0.9, 0.9, 0.1, 0.1]]]), np.array([[[0.9, 0.1, 0.9, 0.1]]])
    assert by_subtraction(before, after, brain).mask(0.5)[0, 0].tolist() == [False, False, True, False]


def test_the_difference_image_finds_a_bright_ball_in_noise_and_skips_the_rim():
    rng = np.random.default_rng(0)
    brain = np.ones((30, 28, 26), bool)
    before, after = rng.normal(0, 0.1, (2, *brain.shape)).astype(np.float32)
    after[12:16, 12:16, 12:16] += 1
    after[0:2] += 1
    mask = by_difference(before, after, brain, 1.0).mask(8.0)
    assert mask[13:15, 13:15, 13:15].all()
    assert not mask[:3].any()
    assert mask.sum() < 200


def found_with(pieces, targets, wanted="new"):
    return Found("network", wanted, (0.5,), tuple(targets), tuple(pieces))


def test_one_case_read_by_hand():
    targets = [
        Target(1, "new", 100.0),
        Target(2, "new", 40.0),
        Target(3, "stable", 30.0),
        Target(4, "resolved", 20.0),
        Target(5, "new", 3.0),  # not above 3 mm3: does not count
    ]
    pieces = [
        Piece(0.5, 60.0, {1: 50.0}),
        Piece(0.5, 10.0, {2: 4.0}),  # exactly a tenth of lesion 2: not found
        Piece(0.5, 12.0, {3: 10.0}),
        Piece(0.5, 8.0, {4: 8.0}),
        Piece(0.5, 5.0, {}),
        Piece(0.5, 5.0, {}, 2.0),  # touches what nobody knows: ignored
        Piece(0.4, 99.0, {}),  # of another threshold
    ]
    seen = outcome(found_with(pieces, targets), Point(0.5))
    assert seen.detected == {1}
    assert (seen.false_on_stable, seen.false_on_resolved, seen.false_elsewhere, seen.n_false) == (1, 1, 1, 3)
    assert seen.precision == 2 / 5
    assert seen.dice == pytest.approx(2 * 54 / (100 + 143))  # marked 100, wanted 100 + 40 + 3, common 50 + 4
    assert seen.sensitivity_msseg == 0.5  # lesion 1: half covered, 10 of 60 outside
    assert seen.ppv_msseg == 1 / 6  # the piece on lesion 2: 4 of 10 covered, but its lesion lies to 9/10 outside
    assert outcome(found_with(pieces, targets), Point(0.5, 10.0)).n_false == 1


def test_nothing_marked_and_nothing_wanted_have_no_dice_but_an_f1_of_zero_and_none():
    nothing = outcome(found_with([], [Target(1, "new", 50.0)]), Point(0.5))
    assert (nothing.dice, nothing.f1_msseg) == (0.0, 0.0)
    assert math.isnan(nothing.precision)
    empty = outcome(found_with([Piece(0.5, 9.0, {})], []), Point(0.5))
    assert math.isnan(empty.dice)
    assert math.isnan(empty.f1_msseg)
    assert empty.n_false == 1


def case(kind, pieces, targets=(), name="x", model="A", method="network"):
    found = Found(method, "new", (0.3, 0.5), tuple(targets), tuple(pieces))
    return CaseResult(name, kind, model, "sha", "s", (found,))


CASES = [
    case("pair", [Piece(0.3, 90.0, {1: 60.0}), Piece(0.3, 9.0, {2: 5.0}), Piece(0.5, 80.0, {1: 60.0})],
         [Target(1, "new", 80.0), Target(2, "new", 8.0)]),
    case("pair", [Piece(0.3, 50.0, {1: 40.0}), Piece(0.5, 4.0, {})], [Target(1, "new", 50.0)]),
    case("null", [Piece(0.3, 6.0, {}), Piece(0.3, 20.0, {})]),
    case("null", []),
]  # fmt: skip


def test_figures_of_pairs_and_null_pairs_by_hand():
    low = summary.figures(summary.read_at(CASES, "network", Point(0.3)))
    assert [(s.k, s.n) for s in low.by_size] == [(1, 1), (1, 1), (1, 1), (0, 0)]  # 8; 50 is the upper end of 10-50; 80
    assert (low.large.k, low.large.n) == (2, 2)
    assert low.false_per_null.value == 1.0
    high = summary.figures(summary.read_at(CASES, "network", Point(0.5)))
    assert (high.large.k, high.large.n) == (1, 2)
    assert high.false_per_null.value == 0.0
    assert high.false_per_pair.value == 0.5
    assert high.dice.value == pytest.approx((2 * 60 / (80 + 88) + 0) / 2)


def test_the_operating_point_keeps_to_the_limit_and_the_size_limit_helps():
    only_small = summary.sweep(CASES, "network", (3.0,))
    assert summary.operating_point(only_small).point == Point(0.5)
    assert summary.operating_point(summary.sweep(CASES, "network", (3.0, 20.0))).point == Point(0.3, 20.0)
    noisy = [case("null", [Piece(t, 6.0 + i, {}, peak=1.0) for i, t in enumerate((0.3, 0.5, 0.3))])]
    assert summary.operating_point(summary.sweep([*CASES[:2], *noisy], "network")).point == Point(0.5)


def test_a_result_survives_its_file(tmp_path):
    first = CaseResult(
        "pair-000", "pair", "A", "abc", "cs07",
        (Found("network", "new", (0.5,), (Target(1, "new", 9.0, 0.8, None),), (Piece(0.5, 9.0, {1: 4.0}, 1.0, 0.75),)),),
        {"new": Histogram([1] * BINS, [0] * BINS)},
    )  # fmt: skip
    write_result(tmp_path / "r.json", first)
    assert read_result(tmp_path / "r.json") == first
    assert is_done(tmp_path / "r.json", "abc")
    assert not is_done(tmp_path / "r.json", "other")
    assert not is_done(tmp_path / "none.json", "abc")


def test_voxels_are_counted_by_their_log_odds():
    probability = np.array([[[0.5, 0.5, 0.9, 0.0]]], np.float32)
    reference = np.array([[[1, IGNORE, 0, 0]]], np.int8)
    counts = histogram(probability, reference, np.ones((1, 1, 4), bool))
    assert sum(counts.voxels) == 3
    assert sum(counts.lesion) == 1
    assert counts.lesion[BINS // 2] == 1  # log-odds 0
    assert counts.voxels[0] == 1  # probability 0


def sampled(temperature, bias=0.0):
    """Voxels whose share of lesion is what the log-odds / temperature say."""
    n = np.full(BINS, 10_000)
    return Histogram(n.tolist(), np.round(n / (1 + np.exp(-(logits() + bias) / temperature))).astype(int).tolist())


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_the_temperature_is_found_and_mends_the_probabilities(temperature):
    counts = sampled(temperature)
    assert cal.fit_temperature(counts) == pytest.approx(temperature, rel=0.02)
    assert cal.calibration_error(counts, temperature) < 0.01
    if temperature != 1:
        assert cal.calibration_error(counts) > 0.01
    assert cal.fit_temperature(Histogram([5] * BINS, [0] * BINS)) == 1.0


def test_calibration_error_by_hand():
    voxels, lesion = [0] * BINS, [0] * BINS
    at = int(np.abs(logits() - 1.125).argmin())  # log-odds 1.125: probability 0.7549
    voxels[at], lesion[at] = 200, 100
    voxels[0] = 10**6  # nothing is said of these
    assert cal.calibration_error(Histogram(voxels, lesion)) == pytest.approx(0.7549 - 0.5, abs=1e-4)


def test_a_scaled_threshold_marks_the_same_voxels():
    p = np.linspace(0.02, 0.98, 49)
    scaled = 1 / (1 + np.exp(-np.log(p / (1 - p)) / 1.7))
    assert np.array_equal(p >= 0.3001, scaled >= cal.scaled(0.3001, 1.7))


def test_the_best_threshold_is_one_that_is_allowed():
    assert cal.best_allowed([(0.1, 0.3, 0.9), (0.5, 0.2, 0.7), (0.6, 0.1, 0.7), (0.9, 0.0, 0.2)]) == 0.6
    assert cal.best_allowed([(0.1, 3.0, 0.9), (0.9, 1.0, 0.2)]) == 0.9


def test_folds_choose_on_the_others():
    parts = cal.folds([case("pair", [], model=m) for m in ("A", "B", "B")])
    assert [(name, len(others), len(own)) for name, others, own in parts] == [("A", 2, 1), ("B", 1, 2)]
    with pytest.raises(SystemExit, match="two models or more"):
        cal.folds([case("pair", [])])


def test_models_and_their_subjects(tmp_path):
    first, second = parse_models(["a=b/A.safetensors=sub-01,02", "B.safetensors=03"])
    assert (first.name, str(first.path), first.subjects) == ("A", "a=b/A.safetensors", ("01", "02"))
    assert (second.name, second.subjects) == ("B", ("03",))
    with pytest.raises(SystemExit, match="expected FILE=LABEL"):
        parse_models(["A.safetensors"])
    with pytest.raises(SystemExit, match="given to two models"):
        parse_models(["A=01", "B=01"])
    for name, seen in (("seen", ("sub-01", "sub-05")), ("unseen", ("sub-05",)), ("silent", ())):
        save_model(VNet(2), CheckpointInfo(training_data=seen), tmp_path / f"{name}.safetensors")
    for name, problem in (("seen", "was trained on sub-01"), ("silent", "does not say on whom")):
        (wrong,) = parse_models([f"{tmp_path / name}.safetensors=01,02"])
        with pytest.raises(SystemExit, match=problem):
            load_unseen(wrong)
        assert load_unseen(wrong, trained_on_too=True)
    (right,) = parse_models([f"{tmp_path}/unseen.safetensors=01"])
    assert load_unseen(right).info.training_data == ("sub-05",)


def test_pairs_are_spread_over_all_scans(monkeypatch):
    monkeypatch.setattr("benchmarks.accuracy.evaluation.read_backgrounds", lambda _, subjects: [f"{s}{v}" for s in subjects for v in "xy"])
    done = [(a.name, b, i, k) for a, cases in jobs(parse_models(["A=1,2", "B=3"]), [], 9) for b, i, k in cases]
    with_lesions = [(name, b, i) for name, b, i, k in done if k]
    assert sorted(i for *_, i in with_lesions) == list(range(9))
    assert [b for _, b, _ in sorted(with_lesions, key=lambda row: row[2])] == ["1x", "1y", "2x", "2y", "3x", "3y", "1x", "1y", "2x"]
    assert len(done) == 18


def test_a_perfect_map_is_scored_as_perfect(made_head, ranges):
    pair = make_pair(made_head, ranges, 2, with_lesions=True)
    new = np.isin(pair.reference, [le.number for le in pair.lesions if le.fate == "new"])
    maps = {"new": new * 0.9, "all_baseline": pair.all_baseline * 0.9, "all_followup": pair.all_followup * 0.9}
    result = score_pair(pair, maps, "A", "sha")
    for method in ("network", "subtraction"):
        seen = outcome(result.of(method), Point(0.5))
        assert len(seen.detected) == len(seen.wanted) > 0
        assert seen.dice == pytest.approx(1.0, abs=0.1 if method == "subtraction" else 0.02)
    assert outcome(result.of("network"), Point(0.5)).n_false == 0
    assert outcome(result.of("network, all"), Point(0.5)).f1_msseg == 1.0
    assert sum(result.histograms["new"].lesion) == new.sum()


def test_lesions_of_a_label_are_numbered_and_unknown_voxels_are_marked():
    truth, unknown = np.zeros((6, 5, 4), bool), np.zeros((6, 5, 4), bool)
    truth[0, 0, :3] = True
    truth[4:6, 2, 1] = True
    unknown[0, 0, :] = True
    reference, targets = components_of(truth, "new", unknown)
    assert [(t.number, t.volume_mm3) for t in targets] == [(1, 3.0), (2, 2.0)]
    assert reference[0, 0].tolist() == [1, 1, 1, IGNORE]


def test_one_process_may_do_one_model_only(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr("benchmarks.accuracy.evaluation.jobs", lambda assignments, *_: [(a, []) for a in assignments])
    monkeypatch.setattr("benchmarks.accuracy.evaluation.load_unseen", lambda a, **_: done.append(a.name))
    monkeypatch.setattr("benchmarks.accuracy.evaluation.engine_of", lambda *_: None)
    run(parse_models(["a=1", "b=2"]), [], (), 4, tmp_path, only="B")
    run(parse_models(["a=1", "b=2"]), [], (), 4, tmp_path)
    assert done == ["B", "A", "B"]


def test_no_extreme_threshold_of_the_all_lesion_map():
    pieces = [Piece(t, mm3, {1: 50.0}) for t, mm3 in ((0.01, 50.0), (0.1, 90.0), (0.5, 80.0), (0.9, 85.0), (0.99, 50.0))]
    found = Found("network, all", "all", (0.5,), (Target(1, "all", 50.0),), tuple(pieces))
    assert cal.choose_all([CaseResult("x", "real", "A", "sha", "s", (found,))]) == 0.5
