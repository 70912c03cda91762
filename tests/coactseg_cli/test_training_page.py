"""The page of a training, made from tables that the test writes."""

import dataclasses
import re

import numpy as np
import pytest

from bids_app.tables import read_table
from coactseg_cli.config import TrainConfig
from coactseg_cli.sampling.patches import Case
from coactseg_cli.sampling.splits import Split
from coactseg_cli.training_charts import every, smoothed, thinned
from coactseg_cli.training_files import LOSSES, VALIDATION
from coactseg_cli.training_page import label_counts, validation_means, write_page

VERSIONS = {"coactseg": "9.9", "torch": "1.2"}


def case(name, **changes):
    zeros = np.zeros((2, 3, 4), np.float32)
    return Case(name, zeros, zeros > 0, (1.0, 1.0, 1.0), **changes)


@pytest.fixture
def split():
    label = np.zeros((2, 3, 4), np.int8)
    pair = case("sub-1_ses-02_pair", followup=np.ones((2, 3, 4), np.float32), new=label, all_baseline=label)
    return Split((pair, case("sub-1_ses-01", all_baseline=label), case("sub-3")), (case("sub-2", all_baseline=label),))


def validation_row(iteration, name, kind, dice, **changes):
    row = dict.fromkeys(VALIDATION, "0.5") | {"iteration": str(iteration), "case": name, "kind": kind, "dice": dice}
    return row | {"lesions_ref": "3", "lesions_pred": "2", "false_lesions": "1"} | changes


@pytest.fixture
def out(tmp_path):
    """Four iterations, one loss not finite; validations at 2 and 4 of two cases."""
    losses = [dict.fromkeys(LOSSES, f"{i / 7:.6g}") | {"iteration": str(i), "seconds": "0.25"} for i in range(1, 5)]
    losses[2]["total"] = "n/a"
    rows = [
        validation_row(2, "sub-2", "all", "0.25"),
        validation_row(2, "sub-9_pair", "new", "n/a", lesions_ref="0", lesions_pred="0", lesion_f1="n/a"),
        validation_row(4, "sub-2", "all", "0.375"),
        validation_row(4, "sub-9_pair", "new", "n/a", lesions_ref="0", lesions_pred="1", lesion_f1="n/a"),
    ]
    for name, columns, lines in (("losses", LOSSES, losses), ("validation", VALIDATION, rows)):
        (tmp_path / f"{name}.tsv").write_text(
            "\n".join("\t".join(line) for line in [list(columns), *([r[c] for c in columns] for r in lines)]) + "\n"
        )
    return tmp_path


def config(out, **changes):
    return TrainConfig(**{"prepared": (), "out_dir": out, "iterations": 4, "name": "tiny", **changes})


def text_of(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())


def test_means_and_the_score_by_hand(out):
    means = validation_means(read_table(out / "validation.tsv"))
    assert [(m["iteration"], m["kind"], m["kind_score"], m["score"]) for m in means] == [
        (2, "all", 0.25, 0.625),
        (2, "new", 1.0, 0.625),
        (4, "all", 0.375, 0.1875),
        (4, "new", 0.0, 0.1875),
    ]
    assert np.isnan(means[1]["dice"])


def test_labels_are_counted_on_each_side(split):
    counts = {row["label"]: (row["training"], row["validation"]) for row in label_counts(split)}
    assert counts["new lesions of a pair"] == (1, 0)
    assert counts["all lesions of a single scan"] == (1, 1)
    assert counts["none, single scan"] == (1, 0)


def test_the_page_says_what_the_tables_say(out, split):
    page = write_page(out, config(out, exclude=("7",)), split, 2, VERSIONS)
    text = text_of(page)
    assert "Research use only" in text
    for row in read_table(out / "validation.tsv"):
        if row["iteration"] == "2":
            shown = " ".join(
                [row["case"], row["kind"], *(f"{float(row[c]):.3f}" if row[c] != "n/a" else "n/a" for c in ("dice", "lesion_f1"))]
            )
            assert shown in text
    assert "0.625" in text, "the best score of validation_means.tsv"
    assert {row["score"] for row in read_table(out / "validation_means.tsv")} == {"0.625", "0.1875"}
    assert "sub-7" in text
    assert "not finite" in text
    assert "Wu Y, Wu Z, Shi H" in text


def test_the_page_stands_alone(out, split):
    html = write_page(out, config(out), split, 4, VERSIONS).read_text()
    assert "<script" not in html
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", html)


def test_words_of_the_user_are_escaped(out, split):
    html = write_page(out, config(out, name="<script>alert(1)</script>"), split, 4, VERSIONS).read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_nothing_validated_is_said(out, split):
    (out / "validation.tsv").write_text("\t".join(VALIDATION) + "\n")
    text = text_of(write_page(out, config(out), dataclasses.replace(split, validation=()), 4, VERSIONS))
    assert "nothing was validated" in text
    assert "no case was held out" in text


def test_a_run_that_stopped_early_says_so(out, split):
    said = "the training stopped after iteration 4 of"
    assert said not in text_of(write_page(out, config(out), split, 4, VERSIONS))
    assert f"{said} 400; go on with --resume" in text_of(write_page(out, config(out, iterations=400), split, 4, VERSIONS))


def test_long_curves_keep_their_spikes_and_ends():
    x = np.arange(20_000.0)
    y = np.sin(x / 300)
    y[12_345] = 40.0
    kept_x, kept_y = thinned(x, y)
    assert len(kept_x) <= 2_100
    assert 40.0 in kept_y
    assert kept_x == sorted(kept_x)
    assert every(x, y)[0][0] == 0.0
    assert every(x, y)[0][-1] == 19_999.0
    assert every(np.zeros(0), np.zeros(0)) == ([], [])


def test_smoothing_is_a_mean_over_what_is_known():
    """Of few values: a place and its neighbours on both sides."""
    values = np.array([1.0, 3.0, np.nan, 5.0])
    assert np.allclose(smoothed(values), [2.0, 2.0, 4.0, 5.0])
