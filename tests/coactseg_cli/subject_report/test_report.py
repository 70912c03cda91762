"""The page of a made-up OUT, read back: every number on it is one of a TSV; what an older OUT lacks is left out."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from bids_app.cases import Pair
from bids_app.errors import InvalidDataset
from bids_app.fates import FATES
from bids_app.files import read_json, write_json
from bids_app.report import format_cell, format_figures
from bids_app.tables import number, read_table
from coactseg_cli.subject_report import write_report
from tests.coactseg_cli.subject_report.made_out import MadeOut, make_out

LINE = "Research use only; model trained on 5 pairs and 2 single scans"
PAIRS = (Pair(0, 1), Pair(1, 2))
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Tables by caption, headline cards, words, links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tables: dict[str, list[list[str]]] = {}
        self.cards: dict[str, tuple[str, str]] = {}
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self._rows: list[list[str]] = []
        self._caption = self._title = self._number = ""
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "a":
            self.links.append(found.get("href") or "")
        if tag == "img":
            self.images.append(found)
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in {"td", "th"}:
            self._rows[-1].append("")
        if tag == "dt":
            self._title = self._number = ""
        if tag not in VOID:
            self.open.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag
        self.open.pop()
        if tag == "table":
            assert self._caption not in self.tables
            self.tables[self._caption] = [[" ".join(cell.split(" ")).strip() for cell in row] for row in self._rows]

    def handle_data(self, data: str) -> None:
        within = [tag for tag, _ in self.open]
        if "style" in within:
            return
        self.words.append(data)
        classes = {attrs.get("class") for _, attrs in self.open}
        if "caption" in within:
            self._caption += data
        elif {"td", "th"} & set(within) and "sign" not in classes:
            self._rows[-1][-1] += data
        elif "dt" in within:
            self._title += data
        elif "value" in classes and "dd" in within:
            self._number = data
        elif "note" in classes and "dd" in within:
            self.cards[self._title] = (self._number, data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def body(self, caption: str) -> list[list[str]]:
        return self.tables[caption][1:]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> MadeOut:
    return make_out(tmp_path_factory.mktemp("made") / "out")


@pytest.fixture(scope="module")
def page(out: MadeOut) -> Page:
    return Page(write_report(out.prepared, out.tree, PAIRS, LINE).read_text())


def lesions_of(out: MadeOut) -> dict[str, dict[str, str]]:
    return {r["index"]: r for r in read_table(out.tree.root / "sub-01" / "anat" / "sub-01_space-individual_desc-lesions_dseg.tsv")}


def show(text: str, digits: int) -> str:
    """As the page writes a cell of a TSV."""
    return format_cell(number(text), digits)


def test_every_followed_lesion_stands_in_a_table_with_the_numbers_of_its_tsv(out: MadeOut, page: Page) -> None:
    lesions, timeline = lesions_of(out), read_table(out.table("desc-lesions_timeline"))
    volumes = {(r["lesion_id"], r["session_id"]): show(r["volume_mm3"], 1) for r in timeline}
    changed, unchanged = page.body("Lesions that changed"), page.body("Lesions without change")
    assert [row[0] for row in changed] == ["5", "3", "4"]  # new, resolved, shrinking
    assert [row[0] for row in unchanged] == ["1", "2"]
    for row in [*changed, *unchanged]:
        r = lesions[row[0]]
        assert row[1].split(" ")[0] == r["fate"]
        assert row[2] == r["location"].replace("_", " ")
        assert row[3:6] == [volumes.get((row[0], f"ses-0{v}"), "\N{EN DASH}") for v in (1, 2, 3)]
        assert row[6:] == [
            show(r["change_mm3"], 1),
            show(r["annualised_change_mm3_per_year"], 1),
            show(r["mean_probability"], 2),
            show(r["max_probability"], 2),
            show(r["new_probability_max"], 2),
        ]
    assert changed[0][1] == "new off 2"
    assert changed[1][3:6] == ["16.0", "0.0", "\N{EN DASH}"]  # there, resolved, no longer followed


def test_the_summary_has_the_numbers_of_the_sessions_table(out: MadeOut, page: Page) -> None:
    rows = read_table(out.table("sessions"))
    expected = [
        [
            f"Visit {r['session_id']}",
            show(r["all_lesions"], 0),
            format_cell(number(r["all_volume_mm3"]) / 1000.0),
            format_cell(number(r["brain_mask_volume_mm3"]) / 1000.0, 0),
        ]
        for r in rows
    ]
    assert page.body("Lesions at each visit") == expected
    changes = [
        [f"{r['baseline_session_id']} → {r['session_id']}", *(show(r[n], 0) for n in ("new_lesions", "new_volume_mm3"))]
        + [show(r[n], 0) for n in ("resolved_lesions", "resolved_volume_mm3")]
        for r in rows[1:]
    ]
    assert page.body("Maps of change between visits") == changes
    last = rows[-1]
    change_ml = (number(last["all_volume_mm3"]) - number(rows[-2]["all_volume_mm3"])) / 1000.0
    assert page.cards["New lesions"] == (show(last["new_lesions"], 0), f"{show(last['new_volume_mm3'], 0)} mm³ since ses-02")
    assert page.cards["Resolved lesions"] == (show(last["resolved_lesions"], 0), "0 mm³ since ses-02")
    assert page.cards["Lesion load"] == (format_cell(number(last["all_volume_mm3"]) / 1000.0), "4 lesions, ses-03")
    assert page.cards["Change of load"] == (f"+{format_cell(change_ml)}", "+5 % since ses-02")  # 20 and 21 voxels
    assert page.cards["Enlarging lesions"] == ("0", "1 shrinking, 2 stable")
    assert page.cards["Flags raised"] == ("1", "of 3 checks")
    assert "ses-03 against ses-02: 1 new lesion (24 mm³), 0 enlarging, 0 resolved; 4 lesions of 0.17 ml in all, +0.01 ml." in page.text


def test_counts_by_fate_are_those_of_the_timeline(out: MadeOut, page: Page) -> None:
    timeline = read_table(out.table("desc-lesions_timeline"))
    heads = page.tables["Lesions followed from visit to visit"][0][1:]
    assert [h.lower() for h in heads] == [look.word for look in FATES if look.word != "baseline"]
    for row, session in zip(page.body("Lesions followed from visit to visit"), ("ses-02", "ses-03"), strict=True):
        fates = [r["fate"] for r in timeline if r["session_id"] == session]
        assert row[1:] == [str(fates.count(h.lower())) for h in heads]
    assert "ses-01: 3 baseline; ses-02: 1 new, 1 enlarging, 1 resolved, 1 stable; ses-03: 1 new, 1 shrinking, 2 stable" in page.text
    assert "ses-01: 0.11 ml; ses-02: 0.16 ml; ses-03: 0.17 ml" in page.text
    assert "day 365" in page.text


def test_quality_tables_have_the_numbers_of_their_tsvs(out: MadeOut, page: Page) -> None:
    rows = read_table(out.table("desc-quality_flags"))
    for caption, flagged in (("Raised", "1"), ("Passed", "0")):
        expected = [
            [
                r["name"],
                r["session_id"],
                format_figures(number(r["value"])),
                "" if r["units"] == "n/a" else r["units"],
                format_figures(number(r["low"])),
                format_figures(number(r["high"])),
                r["reason"],
            ]
            for r in rows
            if r["flagged"] == flagged
        ]
        assert page.body(caption) == expected
    assert page.body("Raised")[0][2] == "0.01235"
    sessions = read_table(out.table("sessions"))
    assert page.body("Null pairs") == [
        [r["session_id"], show(r["nullpair_lesions"], 0), show(r["nullpair_volume_mm3"], 1)] for r in sessions
    ]
    contradictions = page.body("Contradictions, on the grid where the visits meet")
    names = [n for n in sessions[0] if n.startswith(("new_outside", "new_inside", "resolved_outside", "resolved_inside", "new_and"))]
    assert [row[1:] for row in contradictions] == [[show(r[n], 1) for r in sessions[1:]] for n in names]
    check = read_table(out.table("desc-selfcheck_table"))
    assert page.tables["Self-check"][0] == ["Session", "Check", "Size min", "Injected", "Sensitivity", "Lesions"]  # unused: only n/a
    assert page.body("Self-check")[1] == [check[1]["session_id"], "new sensitivity", "3", "20", "0.3500", "n/a"]
    assert "Rely on 50 mm³ and more." in page.text


def test_a_raised_flag_stands_in_the_summary_with_what_to_do(page: Page) -> None:
    assert "Flag: signal-to-noise, ses-01. Noise; repeat the scan." in page.text
    assert "1 flag asks for a look first." in page.text


def test_lesions_from_near_have_number_fate_volume_and_a_link_from_the_table(page: Page) -> None:
    assert "Lesion 5: new, 24 mm³, infratentorial, 100 % of it in the map of new lesions" in page.text
    assert "Lesion 4: new, 32 mm³, juxtacortical" in page.text
    assert "Lesion 2: enlarging, 32 to 64 mm³, deep white matter" in page.text
    assert "Lesion 3: resolved, was 16 mm³, 75 % of it in the map of resolved lesions" in page.text
    near = [link for link in page.links if link.startswith("#lesion-")]
    assert sorted(near) == ["#lesion-2", "#lesion-3", "#lesion-4", "#lesion-5"]
    assert len(page.ids) == len(set(page.ids))
    assert all(link[1:] in page.ids for link in page.links)


def test_pictures_are_inside_and_say_what_they_show(page: Page) -> None:
    assert len(page.images) == 2 + 2 * (1 + 1 + 2) + 4 + 3 * 2  # overviews; mosaic, difference, flicker; from near; visits
    for attrs in page.images:
        picture = Image.open(io.BytesIO(base64.b64decode((attrs["src"] or "").split(";base64,")[1])))
        assert picture.size == (int(attrs["width"] or 0), int(attrs["height"] or 0))
        assert len(attrs["alt"] or "") > 20
    assert "1 new, 1 resolved, 1 shrinking, 2 stable" in (page.images[0]["alt"] or "")
    assert not re.search(r"https?://|<script|@import|url\(", page.html)


def test_methods_name_what_was_used_and_cite_it(page: Page) -> None:
    assert "bias field correction: N4 (Tustison et al. 2010)" in page.text
    assert "Rules: min overlap 0.1; noise mm3 7.5." in page.text
    assert "maps of resolved lesions from that pass with the visits exchanged" in page.text
    for author in ("Wu Y.", "Reuter M.", "Tustison N.J.", "Isensee F.", "Lowekamp B.C.", "Gorgolewski K.J."):
        assert author in page.text


def test_references_leave_out_what_was_not_used(tmp_path: Path) -> None:
    out = make_out(tmp_path / "out", 1)
    sidecar = Path(str(out.prepared.visits[0].image).replace(".nii.gz", ".json"))
    write_json(sidecar, read_json(sidecar) | {"BiasFieldCorrection": "none", "BrainExtraction": "given"})
    text = Page(write_report(out.prepared, out.tree, (), LINE).read_text()).text
    assert "Reuter M." not in text
    assert "Tustison" not in text
    assert "Isensee" not in text


def test_the_same_out_gives_the_same_bytes_and_no_time(out: MadeOut, page: Page) -> None:
    assert write_report(out.prepared, out.tree, PAIRS, LINE).read_text() == page.html
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", page.text)


def test_an_older_out_leaves_its_sections_out(tmp_path: Path) -> None:
    out = make_out(tmp_path / "out", 2, followed=False)
    page = Page(write_report(out.prepared, out.tree, PAIRS[:1], LINE).read_text())
    assert "lesions" not in page.ids
    assert "quality" not in page.ids
    assert set(page.cards) == {"New lesions", "Lesion load", "Change of load"}
    assert "New lesion 1 by size, 32 mm³ on the common grid" in page.text
    assert "Resolved" not in page.text.split("Methods")[0]


@pytest.mark.parametrize("sessions", [True, False])
def test_one_visit_has_no_comparison(tmp_path: Path, sessions: bool) -> None:
    out = make_out(tmp_path / "out", 1, sessions=sessions)
    page = Page(write_report(out.prepared, out.tree, (), LINE).read_text())
    assert "pair-1" not in page.ids
    assert set(page.cards) == {"Lesion load", "Flags raised"}
    assert "No lesion changed." not in page.text
    assert [row[3:] for row in page.body("Lesions")] == [["64.0", "0.51", "0.91"], ["32.0", "0.52", "0.92"], ["16.0", "0.53", "0.93"]]
    assert "new-lesion maps" not in page.text
    assert "ses-None" not in page.html


def test_pairs_that_are_not_consecutive_have_no_fates_of_their_own(tmp_path: Path) -> None:
    out = make_out(tmp_path / "out")
    folder = out.tree.root / "sub-01" / "ses-03" / "anat"
    for path in list(folder.glob("*desc-new_*")):
        path.with_name(path.name.replace("desc-new_", "desc-newFrom01_")).write_bytes(path.read_bytes())
    page = Page(write_report(out.prepared, out.tree, (*PAIRS, Pair(0, 2)), LINE).read_text())
    assert len(page.body("Maps of change between visits")) == 3
    assert page.body("Maps of change between visits")[2][3:] == ["n/a", "n/a"]
    assert len(page.body("Lesions followed from visit to visit")) == 2
    assert page.cards["New lesions"][1].endswith("since ses-02")


def test_the_page_needs_neither_network_nor_registration() -> None:
    code = "import sys, coactseg_cli.subject_report; print({'torch', 'ants', 'SimpleITK', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_table_without_its_columns_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    out = make_out(tmp_path)
    table = next(out.tree.root.rglob("*_desc-all_dseg.tsv"))
    table.write_text(table.read_text().replace("index", "number", 1))
    page = out.tree.root / f"sub-{out.prepared.subject}.html"
    before = page.read_bytes() if page.exists() else None
    with pytest.raises(InvalidDataset, match=rf"{table.name}: no column index; there are number, name"):
        write_report(out.prepared, out.tree, PAIRS, LINE)
    assert (page.read_bytes() if page.exists() else None) == before


def test_a_sidecar_with_a_number_for_a_table_is_an_error_too(tmp_path: Path) -> None:
    out = make_out(tmp_path)
    path = Path(str(out.prepared.visits[-1].image).replace(".nii.gz", ".json"))
    write_json(path, {**read_json(path), "ProcessingVersions": 3})
    with pytest.raises(InvalidDataset, match=rf"{path.name}: ProcessingVersions is 3"):
        write_report(out.prepared, out.tree, PAIRS, LINE)


def test_a_word_for_a_number_is_named_with_its_row(tmp_path: Path) -> None:
    out = make_out(tmp_path)
    table = next(out.tree.root.rglob("*_desc-all_dseg.tsv"))
    header, first, *others = table.read_text().splitlines()
    cells = first.split("\t")
    cells[header.split("\t").index("volume_mm3")] = "large"
    table.write_text("\n".join([header, "\t".join(cells), *others]) + "\n")
    with pytest.raises(InvalidDataset, match=rf"{table.name}: row 2, column volume_mm3: .*'large'"):
        write_report(out.prepared, out.tree, PAIRS, LINE)
