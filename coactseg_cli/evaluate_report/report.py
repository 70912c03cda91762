"""An evaluation to its page, its figures and the exports of its main table, all in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bids_app.evaluation_page import Block, Cards, Chapter, EvaluationPage, Facts, TableBlock, Title, Words, render
from bids_app.exports import to_latex, to_markdown
from bids_app.files import write_bytes, write_text
from bids_app.report import Table
from coactseg_cli import __version__
from coactseg_cli.evaluate_report import words
from coactseg_cli.evaluate_report.charts import (
    BOX_CAPTION,
    block,
    box_charts,
    froc_charts,
    rater_charts,
    site_charts,
    size_charts,
    threshold_charts,
)
from coactseg_cli.evaluate_report.cohort_tables import agreement_table, froc_table, isbi_table, not_scored_table, threshold_table
from coactseg_cli.evaluate_report.methods_text import methods_text
from coactseg_cli.evaluate_report.names import case_metrics, kind_title, main_metrics
from coactseg_cli.evaluate_report.pair_charts import bland_altman_charts, difference_charts, load_charts, scatter_charts
from coactseg_cli.evaluate_report.pictures import RULE, picture_blocks
from coactseg_cli.evaluate_report.tables import (
    WITH,
    WITHOUT,
    activity_table,
    case_table,
    comparison_table,
    confusion_table,
    main_table,
    overview_table,
    rater_table,
    site_table,
    size_table,
    without_table,
)
from coactseg_cli.metrics.results import EvaluateResult

PAGE_NAME = "evaluation.html"
RESEARCH_LINE = "Research use only; not for diagnosis."
MANY_PICTURES = 2  # sets of three from which on each picture has one row of slices, not two


def write_report(result: EvaluateResult, out_dir: Path) -> Path:
    """Write the page, figures/*.svg and *.png, main_table.tex and main_table.md. Returns: the page. Raises: CannotCreate."""
    page = page_of(result)
    for plot in page.plots:
        write_bytes(out_dir / "figures" / f"{plot.name}.svg", plot.svg)
        write_bytes(out_dir / "figures" / f"{plot.name}.png", plot.png)
    tables = [main_table(result, kind, words.convention_of(result)) for kind in words.kinds_of(result)]
    write_text(out_dir / "main_table.md", "\n".join(to_markdown(table) for table in tables))
    write_text(
        out_dir / "main_table.tex",
        "\n".join(to_latex(table, f"{kind}-lesions") for table, kind in zip(tables, words.kinds_of(result), strict=True)),
    )
    path = out_dir / PAGE_NAME
    write_text(path, render(page))
    return path


def page_of(result: EvaluateResult) -> EvaluationPage:
    """Everything the page says; reads the masks and scans of the cases that get a picture."""
    chapters = [_summary(result)]
    for kind in words.kinds_of(result):
        chapters += _chapters_of(result, kind)
    chapters += [*_isbi(result), _not_scored(result), _definitions(result), _methods(result)]
    return EvaluationPage("Evaluation of lesion segmentations", words.lead(result), RESEARCH_LINE, __version__, tuple(chapters))


def _summary(result: EvaluateResult) -> Chapter:
    several = len(result.methods) > 1
    found: list[Block] = [TableBlock(overview_table(result))] if several else [Words(text, "result") for text in words.findings(result)]
    warnings = [Words(text, "warning") for text in words.warnings(result)]
    empty = [] if result.scores else [Words("No case was scored; see Not scored.", "warning")]
    return Chapter("summary", "Summary", "Summary", (Cards(words.headline(result)), *empty, *found, *warnings))


def _chapters_of(result: EvaluateResult, kind: str) -> Iterator[Chapter]:
    """The chapters on one kind of lesions, those without content left out."""
    convention = words.convention_of(result)
    parts: list[tuple[str, str, str, list[Block]]] = [
        ("scores", "Scores", "Scores", _scores(result, kind, convention)),
        ("without", "Cases without reference lesions", "Without lesions", _without(result, kind)),
        ("activity", "Patients with and without lesions", "Patients", _activity(result, kind)),
        ("comparison", "Comparison of methods", "Comparison", _comparison(result, kind)),
        ("size", "By lesion size", "Size", _size(result, kind)),
        ("agreement", "Volume and number of lesions", "Volume", _agreement(result, kind)),
        ("froc", "FROC and thresholds", "FROC", _curves(result, kind)),
        ("site", "By site", "Site", _site(result, kind)),
        ("raters", "Raters", "Raters", _raters(result, kind, convention)),
        ("pictures", "Worst, median and best case", "Pictures", _pictures(result, kind)),
        ("cases", "Each case", "Cases", _shown(case_table(result, kind, convention))),
    ]
    group = kind_title(kind) if len(words.kinds_of(result)) > 1 else ""
    for anchor, title, short, blocks in parts:
        if blocks:
            full = f"{group}: {title if title[1].isupper() else title[0].lower() + title[1:]}" if group else title
            yield Chapter(f"{kind}-{anchor}", full, short, tuple(blocks), anchor in {"scores", "pictures"}, group)


def _shown(table: Table | None) -> list[Block]:
    return [TableBlock(table)] if table is not None and table.rows else []


def _scores(result: EvaluateResult, kind: str, convention: str) -> list[Block]:
    table = _shown(main_table(result, kind, convention))
    if not table:
        return [Words("No case has a reference lesion, so that overlap and detection have no meaning here.")]
    return [*table, block(box_charts(result, kind, convention)), Words(BOX_CAPTION, "key")]


def _without(result: EvaluateResult, kind: str) -> list[Block]:
    table = _shown(without_table(result, kind))
    return [Words("Good: no lesion at all. Overlap has no meaning where there is nothing to overlap with."), *table] if table else []


def _activity(result: EvaluateResult, kind: str) -> list[Block]:
    named = len(result.methods) > 1
    confusions = [t for m in result.methods if (t := confusion_table(m, kind, named=named)) is not None]
    return [*_shown(activity_table(result, kind)), *(TableBlock(table) for table in confusions)]


def _comparison(result: EvaluateResult, kind: str) -> list[Block]:
    tables = [b for group in (WITH, WITHOUT) for b in _shown(comparison_table(result, kind, group))]
    test = Words(words.comparison_test(result, kind), "key")
    caption = Words("Plots: a point per patient; diamond and bar: median and its 95 % interval.", "key")
    return [*tables, test, block(difference_charts(result, kind)), caption] if tables else []


def _size(result: EvaluateResult, kind: str) -> list[Block]:
    table = _shown(size_table(result, kind))
    return [*table, block([*size_charts(result, kind), *load_charts(result, kind)])] if table else []


def _agreement(result: EvaluateResult, kind: str) -> list[Block]:
    table = _shown(agreement_table(result, kind))
    charts = block([*scatter_charts(result, kind), *bland_altman_charts(result, kind)])
    caption = "Bland-Altman plots: solid line: bias; dashed lines: limits of agreement; bands: their 95 % intervals."
    return [*table, charts, Words(caption, "key")] if table else []


def _curves(result: EvaluateResult, kind: str) -> list[Block]:
    tables = [*_shown(froc_table(result, kind)), *_shown(threshold_table(result, kind))]
    charts = [*froc_charts(result, kind), *threshold_charts(result, kind)]
    return [block(charts), *tables] if charts else []


def _site(result: EvaluateResult, kind: str) -> list[Block]:
    table = _shown(site_table(result, kind))
    return [*table, block(site_charts(result, kind))] if table else []


def _raters(result: EvaluateResult, kind: str, convention: str) -> list[Block]:
    table = _shown(rater_table(result, kind, convention))
    return [*table, block(rater_charts(result, kind))] if table else []


def _pictures(result: EvaluateResult, kind: str) -> list[Block]:
    named = len(result.methods) > 1
    rows = 2 if len(result.methods) * len(words.kinds_of(result)) < MANY_PICTURES else 1
    connectivity = int(result.settings.get("Rules", {}).get("connectivity", 6))
    blocks = [b for m in result.methods for b in picture_blocks(m, kind, connectivity, named=named, rows=rows)]
    return [Words(f"{RULE} Lesions below the size limit are not drawn. R and L: the patient's right and left."), *blocks] if blocks else []


def _isbi(result: EvaluateResult) -> list[Chapter]:
    blocks = _shown(isbi_table(result))
    return [Chapter("isbi", "ISBI 2015 score", "ISBI 2015", tuple(blocks))] if blocks else []


def _not_scored(result: EvaluateResult) -> Chapter:
    blocks = _shown(not_scored_table(result)) or [Words("Every case was scored.")]
    return Chapter("not-scored", "Not scored", "Not scored", tuple(blocks))


def _definitions(result: EvaluateResult) -> Chapter:
    convention = words.convention_of(result)
    names = dict.fromkeys(one.metric for one in (*main_metrics(convention), *case_metrics(convention)))
    meanings = ("Name", "Meaning")
    return Chapter(
        "definitions",
        "Definitions and settings",
        "Definitions",
        (
            Facts("Rules", words.rules(result)),
            Facts("Definitions; in brackets the column of per_case.tsv", words.definitions(result, tuple(names)), meanings),
            Facts("Inputs and versions", words.provenance(result)),
        ),
        breaks=True,
    )


def _methods(result: EvaluateResult) -> Chapter:
    blocks: list[Block] = [Title("To paste into a paper"), *(Words(text) for text in methods_text(result))]
    files = (
        ("evaluation.html", "This page."),
        ("figures/", "Every plot of this page as SVG and PNG."),
        ("main_table.tex, main_table.md", "The tables of scores, for LaTeX (booktabs) and Markdown."),
        ("*.tsv, *.json", "Every number of this page unrounded, with the meaning of each column."),
        ("settings.json", "The rules, inputs and versions."),
    )
    return Chapter("methods", "Methods", "Methods", (*blocks, Facts("Files beside this page", files, ("File", "Content"))))
