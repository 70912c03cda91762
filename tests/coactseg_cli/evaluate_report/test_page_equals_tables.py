"""Every number of the page is the rounded cell of a TSV file: one real evaluation, page and tables read back and compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bids_app.tables import read_table
from coactseg_cli.config import EvaluateConfig
from coactseg_cli.evaluate import evaluate
from coactseg_cli.evaluate_report.names import SHOWN
from coactseg_cli.evaluate_report.tables import MEASURES, size_name
from coactseg_cli.volumes import Volume, save
from tests.coactseg_cli.evaluate_report.cohort import SHAPE, SPACING, draw_masks

METHODS = ("A & B", "<C>")
N_CASES = 10
METRIC = {one.axis: name for name, one in SHOWN.items()}
CONFUSION = ("true_positive", "false_negative", "false_positive", "true_negative")


@dataclass
class Read:
    """A table of the page: caption, column titles, rows of cell texts."""

    caption: str = ""
    titles: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class Tables(HTMLParser):
    """The tables of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[Read] = []
        self.within: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append(Read())
        if tag in {"thead", "tbody"}:
            self.within.append(tag)
        if tag == "tr" and self.within[-1:] == ["tbody"]:
            self.tables[-1].rows.append([])
        if tag in {"caption", "th", "td"}:
            self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in {"thead", "tbody"}:
            self.within.pop()
        elif tag == "caption":
            self.tables[-1].caption = self.text.strip()
        elif tag in {"th", "td"}:
            table = self.tables[-1]
            (table.rows[-1] if self.within[-1:] == ["tbody"] else table.titles).append(re.sub(r"[ \n]+", " ", self.text).strip())


@dataclass
class Evaluated:
    out: Path
    tables: list[Read]

    def rows(self, name: str) -> list[dict[str, str]]:
        return read_table(self.out / f"{name}.tsv")

    def table(self, caption: str) -> Read:
        (found,) = [table for table in self.tables if table.caption == caption]
        assert found.rows, caption
        return found


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Ten patients, every fourth without lesions; two methods, one without a prediction of one case; two sites, two raters, maps."""
    root = tmp_path_factory.mktemp("evaluated")
    affine = np.diag([*SPACING, 1.0])

    def write(folder: str, case: str, data: np.ndarray, dtype: type = np.uint8) -> None:
        (root / folder).mkdir(exist_ok=True)
        save(Volume(data.astype(dtype), affine), root / folder / f"{case}.nii.gz", dtype)

    for i in range(N_CASES):
        case, n = f"sub-{i + 1:02d}", 0 if i % 4 == 3 else 2 + i
        masks = [draw_masks(np.random.default_rng(i), n, skill) for skill in (0.9, 0.5)]
        write("reference", case, masks[0]["reference"])
        for name, mask in zip(METHODS, masks, strict=True):
            if (name, i) != (METHODS[1], 4):
                write(name, case, mask["predicted"])
                write(f"{name} maps", case, 0.3 * mask["reference"] + 0.5 * mask["predicted"], np.float32)
        for rater in ("r1", "r2"):
            write(rater, case, np.roll(masks[0]["reference"], 1, axis=0) if rater == "r1" else masks[0]["reference"])
        write("scans", case, np.random.default_rng(i).normal(50, 9, SHAPE), np.float32)
    sites = "".join(f"sub-{i + 1:02d}\t{('Lyon', 'Rennes')[i % 2]}\n" for i in range(N_CASES))
    (root / "participants.tsv").write_text(f"participant_id\tsite\n{sites}")
    config = EvaluateConfig(
        predicted=None,
        reference=root / "reference",
        out_dir=root / "out",
        methods={name: root / name for name in METHODS},
        probabilities={name: root / f"{name} maps" for name in METHODS},
        raters={"r1": root / "r1", "r2": root / "r2"},
        site_column="site",
        participants=root / "participants.tsv",
        background=root / "scans",
    )
    evaluate(config, lambda _: None)
    return Evaluated(config.out_dir, Tables((config.out_dir / "evaluation.html").read_text()).tables)


def same(cell: str, values: list[str]) -> None:
    """Each number of a cell is the value rounded to as many digits; n/a where the value is n/a."""
    tokens = re.findall(r"n/a|-?\d+(?:\.\d+)?(?:e-?\d+)?", cell.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", ""))
    if tokens == ["n/a"]:
        assert "n/a" in values, (cell, values)
        return
    if tokens[-1] == "n/a":  # 0.500 [n/a]: an estimate without an interval
        values = [*values[: len(tokens) - 1], "n/a"]
    assert len(tokens) == len(values), (cell, values)
    for token, value in zip(tokens, values, strict=True):
        if "n/a" in {token, value}:
            assert token == value, (cell, values)
        else:
            digits = len(token.partition(".")[2]) if "e" not in token else 0
            unit = 10.0**-digits if "e" not in token else 1e-2 * float(token)
            assert abs(float(token) - float(value)) <= 0.5000001 * unit, (cell, values)


SPREAD = {
    "Mean ± SD": ["mean", "sd"],
    "95 % CI": ["ci95_low", "ci95_high"],
    "Median [Q1, Q3]": ["median", "q25", "q75"],
    "n": ["n"],
    "n/a": ["n_undefined"],
    "Pooled": ["pooled"],
    "Total": ["total"],
}


def compare(
    table: Read, rows: list[dict[str, str]], columns: dict[str, list[str]], keys: dict[str, Callable[[dict[str, str]], str]], start: int = 0
) -> None:
    """Find the row of the TSV for each row of the page by its words, then compare each column of numbers."""
    for shown in table.rows:
        words = {title: shown[table.titles.index(title)] for title in keys}
        (row,) = [r for r in rows if all(key(r) == words[title] for title, key in keys.items())]
        compared = 0
        for place, title in enumerate(table.titles):
            if title not in keys:
                same(shown[place], [row[name] for name in columns[title]])
                compared += 1
        assert compared + len(keys) == len(table.titles)


def axis(row: dict[str, str]) -> str:
    return next(axis for axis, name in METRIC.items() if name == row["metric"])


def method(row: dict[str, str]) -> str:
    return row["method"]


def of(rows: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    metrics = set(SHOWN)
    return [r for r in rows if all(r[k] == v for k, v in wanted.items()) and r.get("metric", "dice") in metrics]


WITH, WITHOUT = "with_reference_lesions", "without_reference_lesions"


@pytest.mark.parametrize(("group", "title"), [(WITH, "cases with reference lesions"), (WITHOUT, "cases without reference lesions")])
def test_scores(evaluated: Evaluated, group: str, title: str) -> None:
    table = evaluated.table(f"New lesions: {title}")
    assert {row[1] for row in table.rows} == set(METHODS)
    compare(table, of(evaluated.rows("summary"), group=group), SPREAD, {"Score": axis, "Method": method})


def test_overview(evaluated: Evaluated) -> None:
    summary = of(evaluated.rows("summary"), group=WITH)
    table = evaluated.table("Main results")
    free = {r["method"]: f"{r['k']} of {r['n']}" for r in evaluated.rows("activity") if r["measure"] == "no_false_lesion"}
    for name, dice, f1, clean in table.rows:
        for cell, metric in ((dice, "dice"), (f1, "lesion_f1")):
            (row,) = [r for r in summary if (r["method"], r["metric"]) == (name, metric)]
            same(cell, [row["mean"], row["ci95_low"], row["ci95_high"]])
        assert clean == free[name]


def test_activity_and_confusion(evaluated: Evaluated) -> None:
    rows = evaluated.rows("activity")
    columns = {"Count": ["k", "n"], "Share": ["value"], "95 % CI": ["ci95_low", "ci95_high"]}
    table = evaluated.table("New lesions: does a patient have at least one lesion?")
    compare(table, rows, columns, {"Measure": lambda r: MEASURES.get(r["measure"], ""), "Method": method})
    for name in METHODS:
        confusion = evaluated.table(f"New lesions: confusion table, {name}")
        counts = {r["measure"]: r["k"] for r in rows if r["method"] == name}
        assert [cell for row in confusion.rows for cell in row[1:]] == [counts[measure] for measure in CONFUSION]


def test_sizes(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: by lesion size")
    expected = [
        ["n_detected", "n_reference"],
        ["detection_rate", "detection_ci95_low", "detection_ci95_high"],
        ["detection_wilson_low", "detection_wilson_high"],
        ["n_patients"],
        ["n_false", "n_predicted"],
        ["false_rate", "false_ci95_low", "false_ci95_high"],
        ["false_wilson_low", "false_wilson_high"],
    ]
    rows = evaluated.rows("by_size")
    assert len(table.rows) == len(rows)
    for size, name, *cells in table.rows:
        (row,) = [r for r in rows if (size_name(r["size"]), r["method"]) == (size, name)]
        for cell, names in zip(cells, expected, strict=True):
            same(cell, [row[n] for n in names])


def test_sites(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: by site, cases with reference lesions")
    rows = of(evaluated.rows("by_site"), group=WITH)
    assert {row[0] for row in table.rows} == {"Lyon", "Rennes"}
    compare(table, rows, SPREAD, {"Site": lambda r: r["site"], "Method": method, "Score": axis})


def test_raters(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: raters, cases with reference lesions")
    rows = of(evaluated.rows("raters"), group=WITH)
    assert {"r1 against reference", "r1 against r2"} <= {row[0] for row in table.rows}
    compare(table, rows, SPREAD, {"Pair": lambda r: f"{r['rater']} against {r['against']}", "Score": axis})


@pytest.mark.parametrize(("group", "title"), [(WITH, "cases with reference lesions"), (WITHOUT, "cases without reference lesions")])
def test_comparison(evaluated: Evaluated, group: str, title: str) -> None:
    table = evaluated.table(f"New lesions: methods compared, {title}")
    columns = {
        "n": ["n"],
        "Equal": ["n_zero"],
        "Median, first": ["median_a"],
        "Median, second": ["median_b"],
        "Median difference [95 % CI]": ["median_difference", "ci95_low", "ci95_high"],
        "r": ["rank_biserial"],
    }
    rows = evaluated.rows("comparison")
    for shown in table.rows:
        cells = dict(zip(table.titles, shown, strict=True))
        (row,) = [r for r in rows if r["group"] == group and r["metric"] == METRIC[cells["Score"]]]
        assert cells["Difference"] == f"{row['method_b']} \N{MINUS SIGN} {row['method_a']}"
        for name, names in columns.items():
            same(cells[name], [row[n] for n in names])
        for name, column in (("p", "p"), ("p Holm", "p_holm")):
            assert cells[name] == (row[column] if row[column] == "n/a" else f"{float(row[column]):.3g}".replace("-", "\N{MINUS SIGN}"))
    assert len(table.rows) == sum(r["group"] == group for r in rows)


def test_agreement(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: agreement with the reference")
    names = {"Volume (mm³)": "volume_mm3", "ln volume": "log_volume", "Lesions": "lesions"}
    expected = [
        ["n"],
        ["bias", "bias_ci95_low", "bias_ci95_high"],
        ["loa_low", "loa_high"],
        ["percent_bias"],
        ["percent_loa_low", "percent_loa_high"],
        ["pearson"],
        ["spearman"],
        ["icc_a1", "icc_a1_ci95_low", "icc_a1_ci95_high"],
    ]
    rows = evaluated.rows("agreement")
    assert len(table.rows) == len(rows) == 6
    for quantity, name, *cells in table.rows:
        (row,) = [r for r in rows if (r["quantity"], r["method"]) == (names[quantity], name)]
        for cell, columns in zip(cells, expected, strict=True):
            same(cell, [row[c] for c in columns])


def test_isbi_froc_and_thresholds(evaluated: Evaluated) -> None:
    isbi = evaluated.table("ISBI 2015 raw score")
    rows = {(r["method"], r["connectivity"]): r for r in evaluated.rows("isbi")}
    raters = {(f"{r['rater']} against {r['against']}", r["connectivity"]): r for r in evaluated.rows("isbi_raters")}
    for name, _, connectivity, *cells in isbi.rows:
        row = (rows | raters)[name, connectivity]
        for cell, column in zip(cells, ("n", "n_missed", "dice", "ppv", "ltpr", "lfpr", "correlation", "score"), strict=True):
            same(cell, [row[column]])
    froc = evaluated.table("New lesions: FROC")
    curves = {(f"{r['score']} probability", r["method"]): r for r in evaluated.rows("froc")}
    assert len(froc.rows) == len(curves) == 4
    for score, name, *cells in froc.rows:
        for cell, column in zip(cells, ("camelyon", "n_reference", "n_cases"), strict=True):
            same(cell, [curves[score, name][column]])
    thresholds = evaluated.table("New lesions: mean scores by threshold")
    points = {(f"{float(r['threshold']):g}", r["method"]): r for r in evaluated.rows("thresholds")}
    assert len(thresholds.rows) == len(points)
    for threshold, name, *cells in thresholds.rows:
        for cell, column in zip(cells, ("n_cases", "dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", "false_lesions"), strict=True):
            same(cell, [points[threshold, name][column]])


def test_each_case(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: each case")
    rows = {(r["case"], r["method"]): r for r in evaluated.rows("per_case")}
    assert len(table.rows) == len(rows) == 2 * N_CASES - 1
    titles = {one.title + (f" {one.unit}" if one.unit else ""): name for name, one in SHOWN.items()}
    for shown in table.rows:
        cells = dict(zip(table.titles, shown, strict=True))
        row = rows[cells.pop("Case"), cells.pop("Method")]
        assert cells.pop("Site") == row["site"]
        assert cells.pop("Flags") == (row["flags"].replace(",", ", ").replace("_", " ") if row["flags"] != "n/a" else "\N{EN DASH}")
        assert len(cells) >= 10
        for title, cell in cells.items():
            same(cell, [row[titles[title]]])


def test_not_scored(evaluated: Evaluated) -> None:
    table = evaluated.table("Cases without a score")
    rows = evaluated.rows("not_scored")
    assert [[r["case"], r["method"], r["kind"], r["status"], r["reason"]] for r in rows] == table.rows
    assert ["sub-05", "<C>"] in [row[:2] for row in table.rows]


def test_the_exports_of_the_main_table_say_what_the_page_says(evaluated: Evaluated) -> None:
    table = evaluated.table("New lesions: cases with reference lesions")
    markdown = (evaluated.out / "main_table.md").read_text()
    lines = [line for line in markdown.splitlines() if line.startswith("| ")][2:]
    read = [[re.sub(r"\\(.)", r"\1", cell).strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert read == table.rows
    latex = (evaluated.out / "main_table.tex").read_text()
    assert latex.count(r" \\" + "\n") == len(table.rows) + 1
    assert r"A \& B" in latex
    assert r"\textless{}C\textgreater{}" in latex


def test_every_plot_lies_beside_the_page(evaluated: Evaluated) -> None:
    html = (evaluated.out / "evaluation.html").read_text()
    figures = {path.stem for path in (evaluated.out / "figures").glob("*.svg")}
    assert figures == {path.stem for path in (evaluated.out / "figures").glob("*.png")}
    assert len(figures) == html.count('<figure class="plot">') > 20
    assert not list(evaluated.out.rglob(".tmp-*"))
