"""`coactseg segment BIDS OUT group`: files, exit codes, and that every number of the page is a cell of a table beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bids_app.tables import read_table
from coactseg_cli.__main__ import main
from coactseg_cli.cohort.statistics import QUANTITIES
from tests.coactseg_cli.cohort.made import RESEARCH, brain, done, dseg, out_folder, raw_folder, two_visits, write
from tests.coactseg_cli.cohort.test_gathering import full
from tests.coactseg_cli.evaluate_report.test_page_equals_tables import Read, Tables, same

HOSTILE = "</style><script>alert(1)</script>"
FILES = ("group_lesions", "group_summary", "group_outliers", "group_flags")


def run(out: Path, *flags: str) -> int:
    return main(["segment", str(out.parent / "raw"), str(out), "group", *flags])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: two visits, three, one without a label; failed, never started; one with far too many new lesions."""
    root = tmp_path_factory.mktemp("cohort")
    raw = raw_folder(root / "raw", *(f"{i:02d}" for i in range(1, 16)))
    out, other = out_folder(root / "out", raw), out_folder(root / "out two", raw)
    for i in range(1, 12):
        folder = other if i % 4 == 0 else out
        new = [40.25] * (25 if i == 5 else i % 2)
        two_visits(folder, f"{i:02d}", (500.0 + 100 * i, 530.0 + 90 * i), new)
    brain(out, "01", "02", "hd-bet", Flags=[{"Name": "brain-change", "Message": HOSTILE}])
    full(out, "12")
    dseg(out, "13", None, "all", [10.5, 20.0])
    brain(out, "13", None)
    done(out, "13")
    write(out / "sub-14.html", "<h3>Not done: prep failed</h3><p>sub-14 has no FLAIR.</p>")
    assert run(out, "--merge", str(other)) == 0
    return out


@pytest.fixture(scope="module")
def tables(made: Path) -> dict[str, Read]:
    return {table.caption: table for table in Tables((made / "group_lesions.html").read_text()).tables}


def cells(table: Read, row: list[str]) -> dict[str, str]:
    return dict(zip(table.titles, row, strict=True))


def folder(row: dict[str, str]) -> str:
    return "here" if row["output"] == "." else row["output"]


def test_each_participant(made: Path, tables: dict[str, Read]) -> None:
    rows, table = read_table(made / "group_lesions.tsv"), tables["Participants"]
    visits = [row for row in rows if row["row_type"] == "visit"]
    assert len(table.rows) == len({row["participant_id"] for row in visits}) == 13
    columns = {"Days": "days", "Lesions": "all_lesions", "Volume mm³": "all_volume_mm3", "Load %": "lesion_load_percent"}
    columns |= {"Brain mask mm³": "brain_mask_volume_mm3"}
    of_pairs = {"New": "new_lesions", "New volume mm³": "new_volume_mm3", "Resolved": "resolved_lesions", "Change mm³": "volume_change_mm3"}
    of_pairs |= {"Change per year mm³": "volume_change_mm3_per_year"}
    for shown in table.rows:
        found = cells(table, shown)
        own = [row for row in visits if row["participant_id"] == found["Participant"]]
        assert found["Visits"] == str(len(own))
        assert (found["Latest"], found["Folder"]) == (own[-1]["session_id"], folder(own[-1]))
        for title, name in columns.items():
            same(found[title], [own[-1][name]])
        flags = own[-1]["flags"].replace(";", ", ") if own[-1]["flags"] != "n/a" else "\N{EN DASH}"
        assert found["Flags"] == flags
        pairs = [
            r for r in rows if (r["participant_id"], r["row_type"], r["session_id"]) == (found["Participant"], "pair", found["Latest"])
        ]
        assert found["Against"] == (pairs[0]["baseline_session_id"] if pairs else "n/a")
        for title, name in of_pairs.items():
            same(found[title], [pairs[0][name] if pairs else "n/a"])
        assert len(columns) + len(of_pairs) + 6 == len(table.titles)


def test_who_is_not_done(made: Path, tables: dict[str, Read]) -> None:
    rows = [row for row in read_table(made / "group_lesions.tsv") if row["row_type"] == "participant"]
    assert [[r["participant_id"], folder(r), r["status"].replace("_", " "), r["reason"]] for r in rows] == tables[
        "Participants without results"
    ].rows
    assert [(r["participant_id"], r["status"]) for r in rows] == [("sub-14", "failed"), ("sub-15", "not_started")]


@pytest.mark.parametrize(("caption", "row_type"), [("Over all visits", "visit"), ("Over all pairs of consecutive visits", "pair")])
def test_distributions(made: Path, tables: dict[str, Read], caption: str, row_type: str) -> None:
    rows = {row["quantity"]: row for row in read_table(made / "group_summary.tsv") if row["row_type"] == row_type}
    labels = {quantity.label: quantity.name for quantity in QUANTITIES}
    table = tables[caption]
    assert len(table.rows) == len(rows) > 5
    columns = {"n": "n", "n/a": "n_undefined", "Mean": "mean", "SD": "sd", "Min": "min", "Q1": "q25", "Median": "median", "Q3": "q75"}
    for shown in table.rows:
        found = cells(table, shown)
        row = rows[labels[found.pop("Quantity")]]
        for title, name in {**columns, "Max": "max"}.items():
            same(found.pop(title), [row[name]])
        assert not found


def test_outliers(made: Path, tables: dict[str, Read]) -> None:
    rows, table = read_table(made / "group_outliers.tsv"), tables["Outliers"]
    assert "sub-05" in {row["participant_id"] for row in rows if row["quantity"] == "new_lesions"}
    assert len(rows) == len(table.rows)
    labels = {quantity.name: quantity.label for quantity in QUANTITIES}
    for row, shown in zip(rows, table.rows, strict=True):
        found = cells(table, shown)
        words = [row["participant_id"], folder(row), row["session_id"], row["baseline_session_id"], labels[row["quantity"]]]
        assert shown[:5] == words
        for title, name in (("Value", "value"), ("Low limit", "low"), ("High limit", "high")):
            same(found[title], [row[name]])


def test_flags(made: Path, tables: dict[str, Read]) -> None:
    rows, table = read_table(made / "group_flags.tsv"), tables["Each flag"]
    names = ("session_id", "name", "value", "low", "high", "units", "reason")
    assert [row[:1] + row[2:] for row in table.rows] == [
        [r["participant_id"], *("" if (n, r[n]) == ("units", "n/a") else r[n] for n in names)] for r in rows
    ]
    checked = sum(r["n_flags"] != "n/a" for r in read_table(made / "group_lesions.tsv") if r["row_type"] == "visit")
    overview = tables[f"Flags raised in {checked} visits that were checked"]
    assert {row[0]: int(row[1]) for row in overview.rows} == Counter(row["name"] for row in rows)


def test_headline_and_warnings(made: Path) -> None:
    html = (made / "group_lesions.html").read_text()
    rows = read_table(made / "group_lesions.tsv")
    cards = dict(re.findall(r'<dt>([^<]+)</dt><dd><span class="value">([^<]+)</span>', html))
    kinds = Counter(row["row_type"] for row in rows)
    assert (cards["Visits"], cards["Pairs"]) == (str(kinds["visit"]), str(kinds["pair"]))
    assert (cards["Participants done"], cards["Not done"]) == ("13", "2")
    new = [row["new_lesions"] for row in rows if row["row_type"] == "pair"]
    assert cards["Pairs with new lesions"] == str(sum(n not in {"0", "n/a"} for n in new))
    assert cards["Visits with quality flags"] == str(sum(r["n_flags"] not in {"0", "n/a"} for r in rows if r["row_type"] == "visit"))
    assert "Participants without results: 1 failed, 1 not started." in html
    assert "Brain extraction differs within this cohort: builtin in 12 participants; hd-bet in 1 participant." in html


def test_the_page_is_whole_in_itself_and_leads_to_the_participants(made: Path) -> None:
    html = (made / "group_lesions.html").read_text()
    assert RESEARCH in html
    assert "<script" not in html
    assert HOSTILE not in html
    links = re.findall(r'(?:href|src)="([^"#][^"]*)"', html)
    pages = {link for link in links if not link.startswith("data:")}
    assert pages == {
        *(f"sub-{i:02d}.html" for i in (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14)),
        *(f"../out%20two/sub-{i:02d}.html" for i in (4, 8)),
    }
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
    assert html.count("<figure") == html.count('role="img" aria-label="') >= 8


def test_the_same_cohort_gives_the_same_bytes(made: Path) -> None:
    before = {name: (made / name).read_bytes() for name in [f"{stem}.tsv" for stem in FILES] + ["group_lesions.html"]}
    assert run(made, "--merge", str(made.parent / "out two")) == 0
    assert {name: (made / name).read_bytes() for name in before} == before


def test_every_column_is_described(made: Path) -> None:
    import json

    for stem in FILES:
        rows = read_table(made / f"{stem}.tsv")
        dictionary = json.loads((made / f"{stem}.json").read_text())
        assert set(rows[0]) <= set(dictionary)
    assert json.loads((made / "group_lesions.json").read_text())["scanner"] == {"Description": "The scanner", "Units": "arbitrary"}


def test_one_participant_with_one_visit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = out_folder(tmp_path / "out")
    dseg(out, "01", "a", "all", [])
    assert run(out) == 0
    assert "1 participants, 1 visits, 0 pairs" in capsys.readouterr().out
    (row,) = read_table(out / "group_lesions.tsv")
    assert (row["all_lesions"], row["all_volume_mm3"], row["new_lesions"]) == ("0", "0", "n/a")
    assert read_table(out / "participants.tsv") == [{"participant_id": "sub-01"}]


def test_a_broken_table_is_said_and_gives_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = out_folder(tmp_path / "out")
    two_visits(out, "01")
    two_visits(out, "02")
    path = write(out / "sub-02" / "sub-02_sessions.tsv", "session_id\tall_lesions\nses-1\n")
    assert run(out) == 1
    said = capsys.readouterr().out
    assert f"broken: sub-02: {path}: row 2 has 1 cells" in said
    assert "1 participants, 2 visits, 1 pairs, 1 unreadable" in said
    assert "Broken file: sub-02" in (out / "group_lesions.html").read_text()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [(["--merge", "nowhere"], 66, "nowhere: no such folder"), ([], 18, "holds no segmented participant")],
)
def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, words: str) -> None:
    out = out_folder(tmp_path / "out", raw_folder(tmp_path / "raw", "01"))
    assert run(out, *flags) == code
    assert words in capsys.readouterr().err
    assert not (out / "group_lesions.tsv").exists()


def test_merge_belongs_to_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tmp_path), str(tmp_path / "out"), "participant", "--merge", str(tmp_path)]) == 2
    assert "--merge goes with the level 'group'" in capsys.readouterr().err


def test_group_needs_neither_torch_nor_registration(project_root: Path, tmp_path: Path) -> None:
    out = out_folder(tmp_path / "out")
    two_visits(out, "01")
    code = (
        "import sys; from pathlib import Path; from coactseg_cli.group import group; group(Path(sys.argv[1]));"
        "print([m for m in ('torch', 'ants', 'SimpleITK', 'monai') if m in sys.modules])"
    )
    done_ = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True, cwd=project_root)
    assert done_.stdout.strip() == "[]"
