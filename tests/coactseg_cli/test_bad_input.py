"""What the fuzz harness found, one by one and small: each must stay found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bids_app.cases import PreparedScan
from bids_app.dataset import read_timelines
from bids_app.entities import parse
from bids_app.errors import InvalidDataset, UnreadableImage
from bids_app.indexing import list_anat, list_in_database
from coactseg_cli.__main__ import main
from coactseg_cli.cohort.results import read as read_results
from coactseg_cli.config import SkullStrip
from coactseg_cli.errors import BrainExtractionFailed, GridMismatch
from coactseg_cli.lesion_maps import Grids, read_grids
from coactseg_cli.preprocessing.brain_extraction import extract
from coactseg_cli.preprocessing.transforms import UnreadableTransform, read_itk, write_itk
from coactseg_cli.rereading import _probability
from coactseg_cli.volumes import Volume, save

GRID = Volume(np.zeros((4, 5, 6), np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
LARGER = Volume(np.zeros((5, 5, 6), np.float32), GRID.affine)


def prepared(folder: Path, brain: Volume) -> PreparedScan:
    names = ("native", "native_brain_mask", "image", "brain_mask")
    paths = {name: folder / f"{name}.nii.gz" for name in names}
    for name, path in paths.items():
        save(brain if name == "brain_mask" else GRID, path)
    for name in ("to_individual", "to_native"):
        write_itk(folder / f"{name}.txt", np.eye(4))
    xfms = {name: folder / f"{name}.txt" for name in ("to_individual", "to_native")}
    return PreparedScan(parse("sub-01_FLAIR.nii.gz"), None, **paths, **xfms)


def test_a_prepared_brain_mask_lies_on_the_grid_of_its_image(tmp_path: Path) -> None:
    read_grids(prepared(tmp_path / "good", GRID))
    with pytest.raises(GridMismatch, match=r"image\.nii\.gz and .*brain_mask\.nii\.gz lie on different grids"):
        read_grids(prepared(tmp_path / "bad", LARGER))


def test_stored_probabilities_are_probabilities_on_the_common_grid(tmp_path: Path) -> None:
    visit: Grids = read_grids(prepared(tmp_path, GRID))
    for low, high in ((-1.0, 0.0), (0.0, 1.5)):
        values = np.linspace(low, high, GRID.data.size, dtype=np.float32).reshape(GRID.shape)
        save(GRID.like(values), tmp_path / "probseg.nii.gz")
        with pytest.raises(UnreadableImage, match=rf"probseg\.nii\.gz: expected probabilities from 0 to 1; found {low:g} to {high:g}"):
            _probability(tmp_path / "probseg.nii.gz", visit)
    save(LARGER, tmp_path / "probseg.nii.gz")
    with pytest.raises(GridMismatch, match="probseg"):
        _probability(tmp_path / "probseg.nii.gz", visit)


def test_a_link_to_itself_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").symlink_to("pairs.tsv")
    assert main(["evaluate", str(tmp_path / "pairs.tsv"), "-", str(tmp_path / "out")]) == 66
    assert "pairs.tsv" in capsys.readouterr().err


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "xfm.txt")
    with pytest.raises(UnreadableTransform, match=r"xfm\.txt"):
        read_itk(tmp_path / "xfm.txt")


def test_a_sessions_table_without_rows_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\n")
    with pytest.raises(InvalidDataset, match=r"sub-01_sessions\.tsv: expected a row per session_id"):
        read_results(tmp_path, "01", {})


def test_files_are_given_to_the_participant_in_whose_folder_they_lie(tmp_path: Path) -> None:
    bids = tmp_path / "sub-99" / "bids"  # that the data set itself lies in a folder of such a name does not matter
    for subject in ("01", "1"):
        (bids / f"sub-{subject}/anat").mkdir(parents=True)
        (bids / f"sub-{subject}/anat/sub-{subject}_FLAIR.nii.gz").touch()
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for found in ({s: list_anat(bids / f"sub-{s}") for s in ("01", "1")}, list_in_database(bids, ["01", "1"], tmp_path / "database")):
        assert {s: [p.name for p in paths] for s, paths in found.items()} == {s: [f"sub-{s}_FLAIR.nii.gz"] for s in ("01", "1")}


def test_a_scan_in_the_folder_of_another_participant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    (tmp_path / "sub-01/anat/sub-02_FLAIR.nii.gz").touch()
    failures = read_timelines(tmp_path, validate=False).failures
    assert [f.subject for f in failures] == ["01"]
    assert "the name says sub-02, the folder sub-01" in failures[0].message


def test_intensities_without_room_for_a_histogram_are_constant() -> None:
    with pytest.raises(BrainExtractionFailed, match="constant"):
        extract(GRID.like(np.linspace(0, 1e-40, GRID.data.size, dtype=np.float32).reshape(GRID.shape)), method=SkullStrip.BUILTIN)
