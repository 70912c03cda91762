"""A cohort whose tables and sidecars hold markup, formulas and control characters: page and tables stay what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coactseg_cli.group import group
from tests.bids_app.test_report import HOSTILE, Page
from tests.coactseg_cli.cohort.made import dseg, out_folder, table, two_visits, write

PAYLOADS = [HOSTILE, "=HYPERLINK(1)</script><script>alert(1)</script>", "\x1b[31m\x07@SUM(1)", "-1+cmd|' /C calc'!A0"]


def cohort(root: Path, text: str) -> Path:
    """One participant, with the text in every place of its files that can hold one."""
    out, raw = out_folder(root / "out", root / "raw"), root / "raw"
    two_visits(out, "01")
    for session in ("01", "02"):
        model = {"Name": text, "SHA256": text, "Version": text}
        dseg(out, "01", session, "all", [100.0], Model=model, CoactSegVersion=text, IntendedUse=text, Precision=text)
    flag = {"session_id": "ses-02", "name": text, "value": 1, "units": text, "low": 2, "high": "n/a", "reason": text, "flagged": 1}
    table(out / "sub-01" / "sub-01_desc-quality_flags.tsv", [flag])
    write(out / "sub-01" / "sub-01_sessions.json", json.dumps({text: {"Description": text, "Units": text}}))
    write(raw / "participants.tsv", f"participant_id\t{text}\nsub-01\t{text}\n")
    write(raw / "participants.json", json.dumps({text: {"Description": text, "Levels": {text: text}}}))
    return out


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("harmless")
    out = cohort(root, "harmless")
    group(out, raw=root / "raw")
    return Page((out / "group_lesions.html").read_text())


@pytest.mark.parametrize("text", PAYLOADS)
def test_the_page_has_no_element_of_the_datas_and_no_cell_runs(text: str, harmless: Page, tmp_path: Path) -> None:
    out = cohort(tmp_path, text)
    group(out, raw=tmp_path / "raw")
    page = Page((out / "group_lesions.html").read_text())
    assert [(tag, sorted(attrs)) for tag, attrs in page.elements] == [(tag, sorted(attrs)) for tag, attrs in harmless.elements]
    assert "".join(text.split())[-4:] in "".join(page.text.split())
    tables = sorted(out.glob("*.tsv"))
    assert [path.stem for path in tables] == ["group_flags", "group_lesions", "group_outliers", "group_summary", "participants"]
    for path in tables:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert len({line.count("\t") for line in lines}) == 1
        for cell in (cell for line in lines for cell in line.split("\t")):
            assert cell.isprintable()
            assert cell[:1] not in set('=+@"')
            assert not cell.startswith("-") or float(cell) < 0
