"""The page is read back with html.parser: complete, offline, escaped, the same for the same input."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from bids_app import figures
from bids_app.report import (
    Crop,
    CropGroup,
    Finding,
    Flag,
    Heading,
    LesionRow,
    LesionTable,
    PairSection,
    Problem,
    Quality,
    SubjectReport,
    Support,
    Table,
    VisitSection,
    format_cell,
    format_figures,
    headline_of,
    quote_css,
    render,
)
from bids_app.timeline import Point, fates_chart, volume_chart

LINE = "Research use only; model trained on 5 pairs and 2 single scans"
HOSTILE = "\"><script>alert(1)</script></style><img src=https://evil.example/x onerror=alert(1)>' {{ 7*7 }} & é"
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """What a browser would find: elements, balance and words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.css = ""
        self.feed(html)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.css += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def report() -> SubjectReport:
    """Two visits and what changed, in small pictures."""
    rng = np.random.default_rng(1)
    shape, spacing = (10, 20, 30), (3.0, 2.0, 1.0)
    image, brain = rng.normal(50, 9, shape), np.zeros(shape, bool)
    brain[2:8, 3:17, 4:26] = True
    old, new = np.zeros(shape, bool), np.zeros(shape, bool)
    old[3:5, 5:8, 8:11] = True
    new[6, 12:14, 17:19] = True
    window = figures.grey_window([image], [brain])
    mosaic = figures.mosaic(image, spacing, window, [figures.all_lesions(old | new), figures.new_lesions(new)], brain=brain, width=300)
    crop = figures.triptych(
        image, image, figures.new_lesions(new), centre=(6, 12.5, 17.5), spacing_mm=spacing, window=window, width=320, name="new-1"
    )
    table = Table(
        "Lesions at ses-02",
        (Heading("No.", description="1 is the largest"), Heading("Lesion"), Heading("Volume", "mm³", 1), Heading("Mean p")),
        ((1, "all-1", 1234.56, 0.5), (2, "all-2", 24.0, float("nan"))),
    )
    outline = figures.brain_outline(image, brain, spacing, columns=2, width=200)
    visits = (
        VisitSection("01", "ses-01, 2019-05-02", 1, 108.0, 1308.4, mosaic, outline),
        VisitSection("02", "ses-02, 2020-05-02", 2, 8132.0, 1311.0, mosaic, outline, table),
    )
    flicker = figures.flicker(image, image, spacing, window, brain=brain, width=300)
    near = CropGroup("new", 1, (Crop("Lesion 7: new, 24 mm³", crop, "lesion-7"),))
    pair = PairSection(
        "ses-01",
        "ses-02",
        1,
        24.0,
        0,
        0.0,
        fates=(("new", 2), ("stable", 0)),
        support=(Support("new", 2, 1),),
        lesions=mosaic,
        difference=mosaic,
        flicker=flicker,
        crops=(near,),
        table=replace(table, caption="New"),
    )
    methods, settings = ("Registered rigidly to the halfway space.",), (("Model", "default"), ("Threshold", "0.5"))
    nan = float("nan")
    rows = (
        LesionRow(3, "stable", "unclassified", (9.0, 9.5), 0.5, nan, 0.5, 0.9, nan),
        LesionRow(7, "new", "", ("none", 24.0), nan, nan, 0.5, 0.9, 0.7, "off 3", "lesion-7"),
    )
    flags = (
        Flag("ses-01", "thickness", 3.0, "mm", nan, 4.0, raised=False, reason="Fine."),
        Flag("", "noise", 0.01, "", 0.5, nan, raised=True, reason="Repeat."),
    )
    points = (Point("ses-01", 0.0, 0.1, {"baseline": 1}), Point("ses-02", 30.0, 8.1, {"new": 2, "resolved": 12, "stable": 1}))
    return SubjectReport(
        "01",
        LINE,
        "0.1.0",
        reading="One new lesion.",
        charts=(volume_chart(points), fates_chart(points)),
        visits=visits,
        pairs=(pair,),
        lesions=LesionTable(("ses-01", "ses-02"), rows),
        overviews=(crop, crop),
        quality=Quality(flags, replace(table, caption="Self-check"), "Rely on 50 mm³.", (replace(table, caption="Null pairs"),)),
        methods=methods,
        references=("Wu et al. 2023.",),
        settings=settings,
    )


@pytest.fixture(scope="module")
def page(report: SubjectReport) -> Page:
    return Page(render(report))


def test_sections_follow_each_other_under_their_headings(page: Page) -> None:
    sections = ["summary", "lesions", "pair-1", "visit-1", "visit-2", "quality", "methods", "errors"]
    assert [attrs["id"] for attrs in page.all("section")] == sections
    headings = [tag for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"
    assert headings.count("h2") == len(sections)
    assert "h4" not in headings


def test_links_stay_on_the_page_and_arrive(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] for attrs in page.all("a")]
    assert len(targets) == 1 + 8 + 1  # skip, sections, lesion 7
    assert all(target.startswith("#") and target[1:] in ids for target in targets)
    labelled = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
    assert {name for names in labelled for name in names.split()} <= set(ids)


def test_the_page_needs_nothing_else_and_runs_nothing(report: SubjectReport, page: Page) -> None:
    assert not page.all("script")
    assert not page.all("iframe")
    for _, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "poster"):
            assert re.match(r"(data:|#|$)", attrs.get(name) or "")
    assert "url(" not in page.css
    assert "@import" not in page.css
    assert not re.search(r"https?://", render(report))
    policy = next(attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_image_is_inside_has_its_size_and_an_alternative_text(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 2 + 2 + 2 + 2 + 2 + 1  # overviews, mosaics, brain masks, flicker, mosaic and difference of the pair, crop
    for attrs in images:
        kind, data = attrs["src"].split(";base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        picture.load()
        assert kind == f"data:{Image.MIME[picture.format]}"
        assert picture.size == (int(attrs["width"]), int(attrs["height"]))
        assert len(attrs["alt"]) > 20
    assert "patient's right on the left" in images[2]["alt"]


def test_numbers_are_shown_with_their_units(page: Page) -> None:
    assert "2 lesions , 8.13 ml in all." in page.text
    assert "1 new lesion , 24 mm³ in all. 0 resolved." in page.text
    assert "1\u202f235" not in page.text
    assert "1\u202f234.6" in page.text
    assert "n/a" in page.text
    assert "nan" not in page.text.lower().split()


def test_table_headings_say_their_scope_and_words_stand_left(page: Page) -> None:
    assert all(attrs.get("scope") in {"col", "row"} for attrs in page.all("th"))
    words = [attrs for attrs in page.all("td") if attrs.get("class") == "words"]
    assert (
        len(words) == 2 * 4 + 2 + 2 * 2 + 2 * 2
    )  # lesion names in four tables, values of settings, fate and place, visit and unit of flags


def test_captions_say_what_good_looks_like_and_the_research_line_stands_first_and_last(page: Page) -> None:
    assert page.text.count("Good:") == 2 + 2 + 1 + 1 + 1 + 1
    body = page.text.split("Skip to the content", 1)[1]
    assert body.strip().startswith(LINE)
    assert page.text.count(LINE) == 2
    assert "radiological convention" in page.text


def test_the_flicker_waits_for_the_reader_and_stops_for_reduced_motion(page: Page) -> None:
    container = next(attrs for attrs in page.all("div") if "flicker" in (attrs.get("class") or ""))
    assert container["tabindex"] == "0"
    assert container["aria-label"]
    assert "steps(1) infinite paused" in page.css
    assert ".flicker:hover img + img, .flicker:focus img + img { animation-play-state: running; }" in page.css
    still = page.css.split("@media (prefers-reduced-motion: reduce)")[1].split("@media")[0]
    assert "animation: none" in still
    assert "prefers-color-scheme: dark" in page.css
    assert "@media print" in page.css


def test_the_same_report_gives_the_same_bytes(report: SubjectReport) -> None:
    assert render(report) == render(report)
    assert render(report) != render(replace(report, version="0.1.1"))


def test_hostile_words_are_only_words(report: SubjectReport) -> None:
    visit = VisitSection(HOSTILE, HOSTILE, 1, 1.0, table=Table(HOSTILE, (Heading(HOSTILE, HOSTILE, 1, HOSTILE),), ((HOSTILE,),)))
    visit = replace(visit, warnings=(HOSTILE,), findings=(Finding(HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE),))
    picture = replace(report.visits[0].lesions, alt=HOSTILE, note=HOSTILE, legend=((HOSTILE, HOSTILE),))
    pair = PairSection(HOSTILE, HOSTILE, 1, 1.0, lesions=picture, crops=(CropGroup(HOSTILE, 1, (Crop(HOSTILE, picture, "x"),)),))
    pair = replace(pair, fates=((HOSTILE, 1),))
    points = (Point(HOSTILE, 1.0, 1.0, {"new": 1}), Point(HOSTILE, None, 2.0, {HOSTILE: 1}))
    hostile = SubjectReport(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        headline=(Finding(HOSTILE, 1),),
        reading=HOSTILE,
        charts=(volume_chart(points), fates_chart(points)),
        visits=(visit,),
        pairs=(pair,),
        lesions=LesionTable((HOSTILE,), (LesionRow(1, HOSTILE, HOSTILE, (HOSTILE,), 1.0, 1.0, 1.0, 1.0, 1.0, HOSTILE),)),
        overviews=(picture,),
        quality=Quality((Flag(HOSTILE, HOSTILE, 1.0, HOSTILE, 0.0, 0.0, raised=True, reason=HOSTILE),), None, HOSTILE),
        methods=(HOSTILE,),
        references=(HOSTILE,),
        settings=((HOSTILE, HOSTILE),),
        errors=(Problem(HOSTILE, HOSTILE, HOSTILE),),
    )
    page = Page(render(hostile))
    assert not page.all("script")
    assert len(page.all("img")) == 3
    assert len(page.all("style")) == 1
    assert "49" not in page.text
    assert HOSTILE in page.text
    for _, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")]
        assert not (attrs.get("src") or "").startswith("http")


def test_no_lesion_reads_clearly(report: SubjectReport) -> None:
    visit = replace(report.visits[0], n_lesions=0, volume_mm3=0.0, table=Table("Lesions", (Heading("No."),), ()))
    pair = replace(report.pairs[0], n_new=0, volume_new_mm3=0.0, crops=(), table=None, fates=())
    page = Page(render(replace(report, visits=(visit,), pairs=(pair,), lesions=None, quality=Quality(), charts=())))
    assert "No lesion above the threshold." in page.text
    assert "No new lesion above the threshold." in page.text
    assert "nothing is contoured" in page.text
    assert not [attrs for attrs in page.all("div") if attrs.get("class") == "scroll"]


def test_one_visit_without_a_session_has_no_comparison(report: SubjectReport) -> None:
    visit = VisitSection(None, "Single visit", 3, 120.0)
    page = Page(render(replace(report, visits=(visit,), pairs=(), lesions=None, quality=Quality(), charts=())))
    assert "one visit." in page.text
    assert "pair-1" not in [attrs.get("id") for attrs in page.all("section")]
    assert "New lesions" not in page.text
    assert "ses-None" not in page.text
    assert "n/a" in page.text  # no brain mask volume


def test_errors_are_told_at_the_top_and_at_the_end(report: SubjectReport, page: Page) -> None:
    assert "No errors to report." in page.text
    failed = replace(
        report,
        visits=(),
        pairs=(),
        lesions=None,
        overviews=(),
        errors=(Problem("ses-02: registration failed", "moved 93 mm", "Traceback: x"),),
    )
    broken = Page(render(failed))
    assert "1 step failed" in broken.text
    assert "There are no results for this participant." in broken.text
    assert "moved 93 mm" in broken.text
    assert "Traceback: x" in broken.text
    assert "No errors to report." not in broken.text


def test_crops_that_are_left_out_are_named(report: SubjectReport) -> None:
    group = replace(report.pairs[0].crops[0], total=40)
    page = Page(render(replace(report, pairs=(replace(report.pairs[0], crops=(group,)),))))
    assert "1 of 40 are shown: those in the map of new lesions first, then the largest." in page.text


def test_headline_tells_the_latest_visit_and_comparison(report: SubjectReport) -> None:
    titles = {finding.title: (finding.value, finding.unit) for finding in headline_of(report.visits, report.pairs)}
    assert titles == {"New lesions": (1, ""), "Volume of new lesions": (24.0, "mm³"), "Lesions": (2, ""), "Lesion volume": (8.132, "ml")}
    assert headline_of((), ()) == ()
    own = Page(render(replace(report, headline=(Finding("Own number", 42),))))
    assert "Own number" in own.text
    assert "Volume of new lesions" not in own.text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 2, "n/a"),
        (float("nan"), 2, "n/a"),
        (float("inf"), 2, "n/a"),
        (0, 2, "0"),
        (1234567, 0, "1\u202f234\u202f567"),
        (1234.567, 1, "1\u202f234.6"),
        (-20.55, 1, "\u221220.6"),
        (0.5, 0, "0"),
        ("a-1", 2, "a-1"),
    ],
)
def test_cells_are_written_for_readers(value: object, digits: int, text: str) -> None:
    assert format_cell(value, digits) == text


def test_css_strings_cannot_be_left() -> None:
    assert quote_css('a"b</style>') == '"a\\000022b\\00003c\\00002fstyle\\00003e"'


def test_a_page_of_usual_size_stays_under_three_megabytes() -> None:
    rng = np.random.default_rng(2)
    shape, spacing = (150, 180, 150), (1.0, 1.0, 1.0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    brain = (grid**2).sum(axis=0) < 0.9
    image = np.where(brain, 100 + 30 * ndimage.gaussian_filter(rng.normal(0, 1, shape), 0.7), 0)  # noise of a scan: neighbours resemble
    lesions = np.zeros(shape, bool)
    lesions[40:44, 60:66, 20:130:10] = True
    window = figures.grey_window([image], [brain])
    mosaic = figures.mosaic(image, spacing, window, [figures.all_lesions(lesions)], brain=brain)
    crop = figures.triptych(image, image, figures.new_lesions(lesions), centre=(42, 63, 70), spacing_mm=spacing, window=window)
    visit = VisitSection("01", "ses-01", 11, 100.0, 1000.0, mosaic, figures.brain_outline(image, brain, spacing))
    pair = PairSection(
        "ses-01",
        "ses-02",
        11,
        1.0,
        lesions=mosaic,
        flicker=figures.flicker(image, image, spacing, window),
        crops=(CropGroup("new", 12, (Crop("x", crop),) * 12),),
    )
    html = render(SubjectReport("01", LINE, "0.1.0", visits=(visit, visit), pairs=(pair,)))
    assert len(html.encode()) < 3e6


def test_a_column_of_composed_numbers_is_set_right_where_its_heading_says_so(report: SubjectReport) -> None:
    headings = (Heading("Case"), Heading("Mean ± SD", words=False), Heading("Reason", words=True))
    table = Table("Scores", headings, (("sub-01", "0.5 ± 0.1", None),))
    html = render(replace(report, visits=(replace(report.visits[0], table=table),), pairs=(), lesions=None, quality=Quality()))
    assert '<th scope="col">Mean ± SD</th>' in html
    assert '<th scope="col" class="words">Reason</th>' in html
    assert '<td>0.5 ± 0.1</td><td class="words">n/a</td>' in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.01235"),
        (1310.87, "1\u202f311"),
        (3.0, "3"),
        (0.35, "0.3500"),
        (-2.5, "\u22122.500"),
        (float("nan"), "n/a"),
        (None, "n/a"),
        (0.0, "0"),
    ],
)
def test_numbers_of_unknown_size_have_four_figures(value: float | None, text: str) -> None:
    assert format_figures(value) == text


def test_changed_lesions_come_first_by_fate_and_size_and_the_others_are_folded(report: SubjectReport, page: Page) -> None:
    nan = float("nan")
    rows = [LesionRow(i, fate, "", (v,), change, nan, 0.5, 0.5, nan) for i, fate, v, change in LESIONS]
    table = LesionTable(("ses-01",), tuple(rows))
    assert [row.number for row in table.changed] == [4, 2, 5, 1, 7]
    assert [row.number for row in table.unchanged] == [3, 6]
    folded = render(report).split("1 lesion without change")[1]
    assert "Lesions without change" in folded.split("</details>")[0]
    assert "Lesions that changed" not in folded


LESIONS = (
    (1, "enlarging", 9.0, 4.0),
    (2, "new", 8.0, float("nan")),
    (3, "stable", 9.0, 0.0),
    (4, "new", 30.0, float("nan")),
    (5, "enlarging", 20.0, 11.0),
    (6, "baseline", 9.0, float("nan")),
    (7, "shrinking", 9.0, -99.0),
)


def test_fates_are_told_by_word_and_sign_and_not_by_colour_alone(page: Page) -> None:
    signs = [attrs for attrs in page.all("span") if attrs.get("class") == "sign"]
    assert signs
    assert all(attrs["aria-hidden"] == "true" for attrs in signs)
    assert len(page.all("svg")) > 2
    charts = [attrs for attrs in page.all("svg") if attrs.get("class") == "chart"]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert all(attrs["role"] == "img" and set(attrs["aria-labelledby"].split()) <= set(ids) for attrs in charts)


def test_raised_flags_come_first_and_passed_ones_are_folded(report: SubjectReport) -> None:
    html = render(report)
    summary, rest = html.split('<h2 id="lesions-title"')
    assert "<strong>Flag: noise.</strong> Repeat." in summary
    assert "thickness" not in summary
    quality = rest.split('<h2 id="quality-title"')[1]
    assert quality.index("Repeat.") < quality.index("<details>") < quality.index("thickness")
    assert "All 1 checks passed" not in html
    passed = replace(report, quality=Quality(report.quality.passed))
    assert "All 1 checks passed." in render(passed)


def test_without_checks_nothing_is_said_of_quality(report: SubjectReport) -> None:
    assert "Quality" not in render(replace(report, quality=Quality()))
