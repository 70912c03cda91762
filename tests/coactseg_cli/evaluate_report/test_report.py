"""The page of a whole evaluation: its chapters, its warnings, its plots and its files, for full, small and empty cohorts."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bids_app.evaluation_page import EvaluationPage, render
from bids_app.plots.canvas import Absent, Plot
from coactseg_cli.evaluate_report import write_report
from coactseg_cli.evaluate_report.charts import block, box_charts, froc_charts, rater_charts, site_charts, size_charts, threshold_charts
from coactseg_cli.evaluate_report.methods_text import methods_text
from coactseg_cli.evaluate_report.names import case_metrics, main_metrics, plotted_metrics
from coactseg_cli.evaluate_report.pair_charts import (
    bland_altman_charts,
    difference_charts,
    load_charts,
    patient_differences,
    scatter_charts,
)
from coactseg_cli.evaluate_report.report import page_of
from coactseg_cli.evaluate_report.tables import without_table
from coactseg_cli.evaluate_report.words import definitions, headline, provenance, rules, warnings
from coactseg_cli.metrics.results import EvaluateResult, MethodResult
from coactseg_cli.metrics.rows import FrocRow, NotScored
from tests.bids_app.test_report import Page
from tests.coactseg_cli.evaluate_report.cohort import SETTINGS, make_result


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    return make_result(tmp_path_factory.mktemp("one"), 12)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    return make_result(tmp_path_factory.mktemp("two"), 8, ("A", "<B>"), ("all", "new"), raters=True)


@pytest.fixture(scope="module")
def page(one: EvaluateResult) -> EvaluationPage:
    return page_of(one)


def test_chapters_of_one_method(page: EvaluationPage) -> None:
    assert [chapter.anchor for chapter in page.chapters] == [
        "summary",
        *(f"all-{part}" for part in ("scores", "without", "activity", "size", "agreement", "froc", "site", "pictures", "cases")),
        *("isbi", "not-scored", "definitions", "methods"),
    ]


def test_methods_kinds_and_raters_add_chapters(two: EvaluateResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def outline(_: object, name: str, title: str, alt: str, caption: str) -> Plot:
        return Plot(name, title, b'<svg id="figure"/>', b"", alt, caption)

    monkeypatch.setattr("coactseg_cli.evaluate_report.charts.encode", outline)  # sixty plots take ten seconds
    page = page_of(two)
    found = [chapter.anchor for chapter in page.chapters]
    assert {"all-comparison", "new-comparison", "all-raters", "new-scores"} <= set(found)
    assert {chapter.group for chapter in page.chapters} == {"", "All lesions", "New lesions"}
    titles = {chapter.anchor: chapter.title for chapter in page.chapters}
    assert titles["all-froc"] == "All lesions: FROC and thresholds"
    assert titles["new-without"] == "New lesions: cases without reference lesions"
    read = Page(render(page))
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    names = [plot.name for plot in page.plots]
    assert len(names) == len(set(names))
    assert "<B>" in read.text


def test_a_cohort_of_one_case_has_a_page_and_the_same_result_gives_the_same_files(tmp_path: Path) -> None:
    made = make_result(tmp_path, 1)
    result = replace(made, methods=(replace(made.methods[0], by_site=(), froc=(), thresholds=()),))
    first, second = (write_report(result, tmp_path / name).parent for name in ("a", "b"))
    html = (first / "evaluation.html").read_text()
    assert "Only case: sub-001." in html
    Page(html)
    files = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert {"evaluation.html", "main_table.tex", "main_table.md", "figures/all_boxes_dice.svg"} <= {str(path) for path in files}
    assert sorted(path.relative_to(second) for path in second.rglob("*.*")) == files
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_an_evaluation_without_any_score_says_so(tmp_path: Path) -> None:
    missing = NotScored(case="sub-01", kind="all", status="missing", reason="no prediction")
    empty = EvaluateResult(methods=(MethodResult(name="predicted", cases=(), scores=(), not_scored=(missing,)),), settings=SETTINGS)
    text = Page(write_report(empty, tmp_path / "out").read_text()).text
    assert "No case was scored" in text
    assert "1 prediction is missing" in text
    assert not (tmp_path / "out" / "figures").exists()


def test_cases_that_all_lack_reference_lesions_get_a_sentence_for_scores(one: EvaluateResult) -> None:
    method = one.methods[0]
    kept = [(c, s) for c, s in zip(method.cases, method.scores, strict=True) if not s.lesions_ref]
    summary = tuple(row for row in method.summary if row.group == "without_reference_lesions")
    bare = replace(method, by_site=(), by_size=(), agreement=(), froc=(), thresholds=(), isbi=(), not_scored=())
    only = replace(bare, cases=tuple(c for c, _ in kept), scores=tuple(s for _, s in kept), summary=summary)
    page = page_of(replace(one, methods=(only,)))
    text = Page(render(page)).text
    assert "No case has a reference lesion" in text
    assert "Every case was scored." in text
    parts = ["scores", "without", "activity", "cases"]  # what was not given and what has no meaning has no chapter
    assert [c.anchor for c in page.chapters][1:-3] == [f"all-{part}" for part in parts]
    assert len(without_table(replace(one, methods=(only,)), "all").rows) == 3


def test_headline_counts_methods_only(two: EvaluateResult) -> None:
    values = {(f.title, f.note.split(";")[0]): f.value for f in headline(two)}
    assert values["Cases scored", "all lesions"] == 8
    assert values["With reference lesions", "all lesions"] == 6  # every fourth has none
    assert values["Missing predictions", "a reference, no prediction, all methods together"] == 4  # two kinds of two methods
    assert values["Failed cases", "could not be compared, all methods together"] == 0
    assert "Mean Dice" not in {f.title for f in headline(two)}  # no single one to show


def test_headline_of_one_method_has_its_means(one: EvaluateResult) -> None:
    row = next(r for r in one.methods[0].summary if (r.group, r.metric) == ("with_reference_lesions", "dice"))
    assert next(f.value for f in headline(one) if f.title == "Mean Dice") == row.mean


def test_warnings(one: EvaluateResult, two: EvaluateResult) -> None:
    assert [line.split(" is ")[0] for line in warnings(one)] == ["1 prediction"]
    method = one.methods[0]
    failed = NotScored(case="sub-98", kind="all", status="failed", reason="grids differ")
    resampled = replace(method.scores[0], flags="resampled")
    changed = replace(method, not_scored=(failed, failed), scores=(resampled, *method.scores[1:]))
    lines = warnings(replace(one, methods=(changed,)))
    assert lines[0].startswith("2 cases failed")
    assert lines[1].startswith("1 prediction was resampled")
    short = replace(two.methods[1], cases=two.methods[1].cases[1:], scores=two.methods[1].scores[1:])
    assert any("A 16, <B> 15" in line for line in warnings(replace(two, methods=(two.methods[0], short))))


def test_every_rule_is_printed(one: EvaluateResult, page: EvaluationPage) -> None:
    printed = dict(rules(one))
    assert list(printed.values()) == ["mm", "6", "3.0", "none", "0.1", "0.7", "0.65"]
    text = Page(render(page)).text
    for name, value in rules(one):
        assert f"{name} {value}" in text
    assert ("Versions, coactseg", "0.0") in provenance(one)
    assert ("Cases, missing", "sub-99") in provenance(one)
    assert ("Cases, failed", "none") in provenance(one)
    meanings = dict(definitions(one, ("dice", "hd95_mm")))
    assert meanings["HD95 (mm) [hd95_mm]"] == "Larger of the two directed 95th percentiles of the surface distances"
    assert meanings["sd"] == "ddof 1"


@pytest.mark.parametrize(
    ("convention", "distance", "words"),
    [("mm", "hd95_mm", "in mm"), ("coactseg", "hd95_pooled_voxel", "in voxels"), ("anima", "hd95_mm", "it is 0")],
)
def test_the_convention_decides_scores_and_words(one: EvaluateResult, convention: str, distance: str, words: str) -> None:
    for metrics in (main_metrics, plotted_metrics, case_metrics):
        names = [shown.metric for shown in metrics(convention)]
        assert distance in names
        assert len(names) == len(set(names))
    settings = {**SETTINGS, "Rules": {**SETTINGS["Rules"], "convention": convention, "min_lesion_voxels": 11}}
    text = " ".join(methods_text(replace(one, settings=settings)))
    assert words in text
    assert "a volume strictly above 3 mm³ and at least 11 voxels" in text
    assert "more than 10 % of it" in text
    assert "Commowick et al. 2018" in text


def test_methods_text_names_the_test_only_where_methods_were_compared(one: EvaluateResult, two: EvaluateResult) -> None:
    assert not any("Wilcoxon signed-rank tests" in paragraph for paragraph in methods_text(one))
    assert any("Wilcoxon signed-rank tests" in paragraph for paragraph in methods_text(two))


# --- plots ------------------------------------------------------------------------------------------------------------------


def test_box_plots_hold_the_cases_with_reference_lesions(one: EvaluateResult) -> None:
    chart = next(c for c in box_charts(one, "all", "mm") if c.name == "all_boxes_dice")
    assert not isinstance(chart.drawn, Absent)
    drawn = sorted(chart.drawn.axes[0].collections[0].get_offsets()[:, 0].tolist())
    assert drawn == sorted(s.dice for s in one.scores if s.lesions_ref)
    row = next(r for r in one.methods[0].summary if (r.group, r.metric) == ("with_reference_lesions", "dice"))
    assert f"median {row.median:.3f}" in chart.alt
    assert f"{row.n} cases" in chart.alt


def test_site_plots_tell_sites_and_methods_apart(two: EvaluateResult) -> None:
    chart = site_charts(two, "all")[0]
    assert not isinstance(chart.drawn, Absent)
    names = [label.get_text().split("\n")[0] for label in chart.drawn.axes[0].get_yticklabels()]
    assert names == ["Lyon: A", "Lyon: <B>", "Rennes: A", "Rennes: <B>", "n/a: A", "n/a: <B>"]
    shown = sum(len(c.get_offsets()) for c in chart.drawn.axes[0].collections)
    assert shown == sum(bool(s.lesions_ref) for s in two.scores if s.kind == "all")


def test_a_size_that_one_method_has_no_row_for_has_no_lesion(two: EvaluateResult) -> None:
    first = two.methods[0]
    extra = replace(first.by_size[0], size="0-3", low_mm3=0.0, high_mm3=3.0, n_reference=2, n_detected=1)
    chart = size_charts(replace(two, methods=(replace(first, by_size=(extra, *first.by_size)), two.methods[1])), "all")[0]
    assert not isinstance(chart.drawn, Absent)
    texts = [t.get_text() for t in chart.drawn.axes[0].texts]
    n = len({row.size for row in first.by_size}) + 1
    assert texts[0] == "1/2"
    assert texts[n] == "no lesion"


def test_froc_runs_from_few_false_lesions_to_many_whatever_the_order_of_rows(one: EvaluateResult) -> None:
    points = [(math.nan, 0.0, 0.0), (0.9, 0.3, 0.2), (0.5, 0.6, 1.5), (0.7, 0.5, 0.2)]
    froc = tuple(
        FrocRow(kind="all", score="max", threshold=t, sensitivity=s, false_per_case=f, n_reference=10, n_cases=4, camelyon=0.4)
        for t, s, f in points
    )
    (chart,) = froc_charts(replace(one, methods=(replace(one.methods[0], froc=froc),)), "all")
    assert not isinstance(chart.drawn, Absent)
    line = chart.drawn.axes[0].lines[0]
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(0.0, 0.0), (0.2, 0.3), (0.2, 0.5), (1.5, 0.6)]
    assert "mean sensitivity 0.400" in chart.alt


def test_thresholds_are_two_lines_for_one_method_and_two_panels_for_several(one: EvaluateResult, two: EvaluateResult) -> None:
    (single,), (several,) = threshold_charts(one, "all"), threshold_charts(two, "all")
    assert not isinstance(single.drawn, Absent)
    assert not isinstance(several.drawn, Absent)
    assert [line.get_label() for line in single.drawn.axes[0].lines] == ["Dice", "Lesion F1"]
    assert [axes.get_ylabel() for axes in several.drawn.axes] == ["Mean Dice", "Mean Lesion F1"]
    assert [line.get_label() for line in several.drawn.axes[0].lines] == ["A", "<B>"]
    assert "Dice largest at 0.5 (0.850)" in single.alt


def test_agreement_plots_hold_every_case_and_the_lines_of_their_row(one: EvaluateResult) -> None:
    volume, counts = scatter_charts(one, "all")
    assert not isinstance(volume.drawn, Absent)
    assert not isinstance(counts.drawn, Absent)
    assert counts.drawn.axes[0].collections[0].get_offsets().tolist() == [[s.lesions_ref, s.lesions_pred] for s in one.scores]
    rows = {row.quantity: row for row in one.methods[0].agreement}
    assert f"Pearson {rows['volume_mm3'].pearson:.3f}" in volume.caption
    for chart, quantity in zip(bland_altman_charts(one, "all"), ("volume_mm3", "log_volume", "lesions"), strict=True):
        assert not isinstance(chart.drawn, Absent)
        heights = [line.get_ydata()[0] for line in chart.drawn.axes[0].lines]
        row = rows[quantity]
        assert heights == [0.0, row.loa_low, row.bias, row.loa_high]
        points = chart.drawn.axes[0].collections[0].get_offsets()
        assert len(points) == row.n
        assert points[:, 1].mean() == pytest.approx(row.bias)


def test_load_plots_hold_the_cases_with_reference_lesions(one: EvaluateResult) -> None:
    dice, f1 = load_charts(one, "all")
    for chart, metric in ((dice, "dice"), (f1, "lesion_f1")):
        assert not isinstance(chart.drawn, Absent)
        shown = chart.drawn.axes[0].collections[0].get_offsets().tolist()
        assert shown == [[s.volume_ref_mm3, getattr(s, metric)] for s in one.scores if s.lesions_ref]


def test_rater_plots_have_a_row_per_pair(two: EvaluateResult) -> None:
    dice, _ = rater_charts(two, "new")
    assert not isinstance(dice.drawn, Absent)
    names = [label.get_text().split("\n")[0] for label in dice.drawn.axes[0].get_yticklabels()]
    assert names == ["rater 1 vs reference", "rater 2 vs reference"]
    median = next(
        r.median for r in two.raters if (r.rater, r.kind, r.metric, r.group) == ("rater 1", "new", "dice", "with_reference_lesions")
    )
    assert f"rater 1 against reference: median {median:.3f}" in dice.alt


def test_paired_differences_are_those_of_the_comparison(two: EvaluateResult) -> None:
    a, b = two.methods
    compared = [row for row in two.comparison if row.n]
    assert len(compared) > 20
    for row in compared:
        values = sorted(patient_differences(row, a, b))
        assert len(values) == row.n, row.metric
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        assert middle == pytest.approx(row.median_difference), row.metric
    charts = difference_charts(two, "all")
    assert [c.name for c in charts][:2] == ["all_difference_dice", "all_difference_lesion_f1"]
    assert "<B> \N{MINUS SIGN} A: median" in charts[0].alt


def test_a_plot_that_cannot_be_drawn_is_a_sentence(one: EvaluateResult) -> None:
    method = one.methods[0]
    undefined = replace(method, scores=tuple(replace(s, hd95_mm=math.nan) for s in method.scores))
    charts = [c for c in box_charts(replace(one, methods=(undefined,)), "all", "mm") if c.name in {"all_boxes_dice", "all_boxes_hd95_mm"}]
    made = block(charts)
    assert made.absent == ("HD95: No case has a defined value of HD95 (mm).",)
    assert [plot.name for plot in made.plots] == ["all_boxes_dice"]


def test_neither_torch_nor_registration_is_loaded() -> None:
    heavy = "{'torch', 'ants', 'monai', 'SimpleITK', 'matplotlib.pyplot'}"
    code = f"import sys, coactseg_cli.evaluate_report; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
