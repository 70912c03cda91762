"""Results to thresholds, tables, a model file and the docs."""

import numpy as np
import pytest

from benchmarks import calibrate, model_card
from benchmarks.accuracy import calibration as cal
from benchmarks.accuracy.candidates import BINS, Histogram, Piece, logits
from benchmarks.accuracy.results import CaseResult, Found, Target, write_result
from bids_app.tables import read_table
from coactseg_cli.config import SegmentConfig
from coactseg_cli.network.checkpoint import CheckpointInfo, load_model, save_model
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.model import VNet

THRESHOLDS = (0.25, 0.5, 0.75)


def found(method, pieces, targets, wanted="new"):
    return Found(method, wanted, THRESHOLDS, tuple(targets), tuple(pieces))


def found_at(thresholds, mm3, hits):
    return [Piece(t, mm3, hits) for t in thresholds]


def results(model):
    """A lesion of 60 mm3 that is marked up to 0.5, a false piece in the null pair up to 0.25, a real pair and a real single scan."""
    counts = Histogram([100] * BINS, np.round(100 / (1 + np.exp(-logits() / 2))).astype(int).tolist())
    lesion = [Target(1, "new", 60.0, 1.0, 0.9)]
    hit = found_at(THRESHOLDS[:2], 60.0, {1: 45.0})
    false = found_at(THRESHOLDS[:1], 9.0, {})
    baselines = ("subtraction", "difference, 0.7 mm", "difference, 1 mm", "difference, 1.5 mm")
    every = found("network, all", found_at(THRESHOLDS[:2], 80.0, {1: 70.0}), [Target(1, "all", 90.0)], "all")

    def case(name, kind, parts, histograms=()):
        return CaseResult(f"{name}{model}", kind, model, "sha", f"s{model}", tuple(parts), dict(histograms))

    def methods(pieces, targets):
        return [found("network", pieces, targets), *(found(b, found_at(THRESHOLDS, 30.0, {}), targets) for b in baselines)]

    return [
        case("pair-000_sub-s", "pair", [*methods(hit, lesion), every], {"new": counts, "all": counts}),
        case("null-000_sub-s", "null", methods(false, [])),
        case("new-sub-s", "real", methods(hit, lesion), {"new": counts}),
        case("all-sub-s", "real", [every], {"all": counts}),
        case("reversed-sub-s", "reversed", [found("network", false, [])]),
        case("same-sub-s", "same", [found("network", [], [])]),
    ]


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Everything that the commands write of two models' results."""
    monkeypatch.setattr(cal, "PROBABILITIES", THRESHOLDS)
    for model in "AB":
        for result in results(model):
            write_result(tmp_path / "cases" / f"{result.name}.json", result)
    folder = tmp_path / "tables"
    calibrate.main(["choose", str(tmp_path / "cases"), "--tables", str(folder), "--picture", str(tmp_path / "reliability.svg")])
    model_card.main(["tables", str(tmp_path / "cases"), "--tables", str(folder)])
    return folder


def row_of(path, **wanted):
    return next(r for r in read_table(path) if all(r[k] == v for k, v in wanted.items()))


def test_thresholds_are_those_that_find_the_lesion_without_the_false_one(tables, tmp_path):
    rows = read_table(tables / "calibration.tsv")
    assert [r["tested_on"] for r in rows] == ["A", "B", "all"]
    assert {r["threshold_new"] for r in rows} == {"0.5"}
    assert all(float(r["temperature_new"]) == pytest.approx(2.0, rel=0.03) for r in rows)
    assert float(rows[0]["error_new_scaled"]) < float(rows[0]["error_new"])
    assert rows[0]["false_per_null"] == "0"
    assert (tmp_path / "reliability.svg").read_bytes().startswith(b"<?xml")


def test_tables_hold_the_worked_out_figures(tables):
    stored = row_of(tables / "injection.tsv", method="network", reading="stored")
    assert (stored["found >= 50"], stored["of >= 50"], stored["false_per_null"], stored["pairs"]) == ("2", "2", "0", "2")
    assert float(stored["dice"]) == 0.75  # 2 x 45 / (60 + 60)
    baseline = row_of(tables / "injection.tsv", method="subtraction", reading="at most 0.2 false")
    assert (baseline["limit_mm3"], baseline["found >= 50"], baseline["false_per_null"]) == ("50", "0", "0") or baseline[
        "found >= 50"
    ] == "0"
    real = row_of(tables / "leave_one_out_new.tsv", case="sub-sA", reading="cross-validated")
    assert (real["found"], real["of"], real["precision"], real["false_reversed"], real["false_same"]) == ("1", "1", "1", "0", "0")
    every = row_of(tables / "leave_one_out_all.tsv", case="sub-sB")
    assert float(every["dice"]) == pytest.approx(2 * 70 / 170)
    assert [r["threshold"] for r in read_table(tables / "injection_sweep.tsv")] == ["0.25", "0.5", "0.75"]
    assert {r["scan"] for r in read_table(tables / "injection_by_scan.tsv")} == {"sub-sA", "sub-sB"}


def test_a_doc_is_filled_between_its_markers_only(tables, tiny_file):
    text = "before\n<!-- table: verdict -->\nuntrue\n<!-- end -->\nafter\n"
    filled = model_card.fill(text, tables, tiny_file)
    assert filled.startswith("before\n<!-- table: verdict -->\n2 pairs with painted lesions and 2 null pairs.")
    assert "It is **met**: where null pairs have 0.00,\n2 of 2: 100 %" in filled
    assert filled.endswith("<!-- end -->\nafter\n")
    assert "untrue" not in filled
    assert model_card.fill(filled, tables, tiny_file) == filled
    with pytest.raises(SystemExit, match="no such table"):
        model_card.fill(text.replace("verdict", "nonsense"), tables, tiny_file)


def test_the_verdict_says_where_no_threshold_keeps_to_the_limit(tables, tiny_file):
    path = tables / "injection.tsv"
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    for row in rows:
        row[header.index("false_per_null")] = "0.5"
    path.write_text("\n".join("\t".join(row) for row in (header, *rows)) + "\n")
    text = model_card.verdict(tables, tiny_file)
    assert "**not met**: no threshold keeps to it; at the one with the fewest false lesions null pairs have 0.50," in text


@pytest.mark.parametrize("name", [n for n in model_card.TABLES if n != "contrast"])
def test_every_table_of_the_docs_can_be_made(tables, tiny_file, name):
    text = model_card.TABLES[name](tables, tiny_file)
    assert text
    assert "nan" not in text


def test_docs_that_are_not_up_to_date_are_told(tables, tiny_file, tmp_path, monkeypatch):
    doc = tmp_path / "card.md"
    doc.write_text("<!-- table: model -->\n<!-- end -->\n")
    monkeypatch.setattr(model_card, "DOCS", (doc,))
    words = ["docs", "--tables", str(tables), "--model", str(tiny_file)]
    with pytest.raises(SystemExit, match="not what the tables say"):
        model_card.main([*words, "--check"])
    model_card.main(words)
    model_card.main([*words, "--check"])
    assert "| network | V-Net of Wu et al. 2023, 2 base filters" in doc.read_text()


def test_the_markers_of_the_docs_name_tables(project_root):
    for path in model_card.DOCS:
        names = [found[2] for found in model_card.MARKER.finditer(path.read_text())]
        assert names
        assert set(names) <= set(model_card.TABLES)


@pytest.fixture
def tiny_file(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(
        VNet(2), CheckpointInfo(name="tiny", n_pairs=1, n_singles=2, spacing_mm=(1.0, 1.0, 1.0), training_data=("sub-1",)), path, half=False
    )
    return path


def test_the_written_model_has_thresholds_and_divided_log_odds(tiny_file, tmp_path, capsys):
    calibrate.write(tiny_file, tmp_path / "out.safetensors", cal.Calibration(0.4, 0.6, 2.0, 0.5))
    before, after = load_model(tiny_file), load_model(tmp_path / "out.safetensors")
    assert capsys.readouterr().out.split() == [after.sha256, "out.safetensors"]
    assert (after.info.temperature_all, after.info.temperature_new) == (2.0, 0.5)
    assert after.info.threshold_all == pytest.approx(cal.scaled(0.4, 2.0), abs=1e-4)
    assert after.info.training_data == ("sub-1",)
    x = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    maps = [
        make_engine(m.network, SegmentConfig(precision="fp32")).run(x, x[::-1], np.ones(x.shape, bool), list(Head)) for m in (before, after)
    ]
    log_odds = [{h: np.log(p / (1 - p)) for h, p in m.items()} for m in maps]
    for head, temperature in ((Head.ALL_BASELINE, 2.0), (Head.ALL_FOLLOWUP, 2.0), (Head.NEW, 0.5)):
        assert np.abs(log_odds[0][head] / temperature - log_odds[1][head]).max() < 0.02
    with pytest.raises(SystemExit, match="has temperatures already"):
        calibrate.write(tmp_path / "out.safetensors", tmp_path / "twice.safetensors", cal.Calibration(0.4, 0.6, 2.0, 0.5))


def test_a_temperature_stays_only_where_it_helped_on_other_cases():
    chosen = cal.Calibration(0.5, 0.5, 2.0, 3.0)
    row = {"error_all": 0.2, "error_all_scaled": 0.1, "loss_all": 0.2, "loss_all_scaled": 0.1}
    row |= {"error_new": 0.1, "error_new_scaled": 0.2, "loss_new": 0.2, "loss_new_scaled": 0.1}
    assert calibrate.keep_what_helps(chosen, [row]) == cal.Calibration(0.5, 0.5, 2.0, 1.0)
