"""Which brain mask is taken and why; masks given in another space come back to the scan."""

from pathlib import Path

import numpy as np
import pytest

from bids_app.cases import Mask
from coactseg_cli.config import SkullStrip
from coactseg_cli.errors import BrainExtractionFailed, MissingWeights
from coactseg_cli.preprocessing.brain_extraction import choose, extract, of_visit
from coactseg_cli.preprocessing.transforms import translation, write_itk
from coactseg_cli.volumes import Volume, save

AFFINE = np.diag([-2.0, 2.5, 4.0, 1.0])


@pytest.fixture
def native() -> Volume:
    data = np.random.default_rng(0).uniform(1, 2, (40, 36, 30)).astype(np.float32)
    data[:3] = 0.0
    return Volume(data, AFFINE)


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COACTSEG_HD_BET_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def box(native: Volume) -> Volume:
    data = np.zeros(native.shape, np.float32)
    data[8:30, 6:28, 5:25] = 1.0
    return native.like(data)


def test_none_takes_what_is_not_zero(native: Volume) -> None:
    found = extract(native, method=SkullStrip.NONE)
    assert np.array_equal(found.volume.data, native.data != 0)
    assert found.method == "none"


def test_auto_takes_the_mask_it_is_given(native: Volume, tmp_path: Path) -> None:
    save(box(native), tmp_path / "a_mask.nii.gz", np.uint8)
    found = extract(native, method=SkullStrip.AUTO, given=Mask(tmp_path / "a_mask.nii.gz", None))
    assert np.array_equal(found.volume.data, box(native).data > 0)
    assert (found.method, "a_mask.nii.gz" in found.why) == ("given", True)


def test_a_mask_in_a_common_space_is_carried_back(native: Volume, tmp_path: Path) -> None:
    # The common space lies 100 mm further up: its points go to the scan by -100 mm, as `from-FLAIR_to-common` says.
    common = Volume(box(native).data, translation((0, 0, 100)) @ AFFINE)
    save(common, tmp_path / "a_mask.nii.gz", np.uint8)
    write_itk(tmp_path / "a_xfm.txt", translation((0, 0, -100)))
    mask = Mask(tmp_path / "a_mask.nii.gz", None, "common", tmp_path / "a_xfm.txt")
    assert np.array_equal(extract(native, method=SkullStrip.AUTO, given=mask).volume.data, box(native).data > 0)


def test_an_empty_mask_is_refused(native: Volume, tmp_path: Path) -> None:
    save(native.like(np.zeros_like(native.data)), tmp_path / "a_mask.nii.gz", np.uint8)
    with pytest.raises(BrainExtractionFailed, match=r"\(given: .*a_mask\.nii\.gz\) found 0.0 ml"):
        extract(native, method=SkullStrip.AUTO, given=Mask(tmp_path / "a_mask.nii.gz", None))


@pytest.mark.parametrize("method", list(SkullStrip))
def test_a_constant_scan_is_refused(native: Volume, method: SkullStrip) -> None:
    with pytest.raises(BrainExtractionFailed, match="constant"):
        extract(native.like(np.full_like(native.data, 7)), method=method)


def test_the_choice_and_its_reason(tmp_path: Path) -> None:
    given = Mask(tmp_path / "a_mask.nii.gz", None)
    assert choose(SkullStrip.AUTO, given, None)[0] == "given"
    assert choose(SkullStrip.AUTO, None, None) == (
        "builtin",
        f"No mask was given, and {tmp_path}/home/hd-bet_params/release_2.0.0 holds no HD-BET weights.",
    )
    assert choose(SkullStrip.BUILTIN, given, None)[0] == "builtin"
    assert choose(SkullStrip.NONE, given, None)[0] == "none"
    with pytest.raises(MissingWeights, match="hd-bet_params"):
        choose(SkullStrip.HD_BET, given, None)
    with pytest.raises(MissingWeights, match="mine"):
        choose(SkullStrip.AUTO, None, tmp_path / "mine")


def test_auto_takes_hd_bet_where_its_weights_are(tmp_path: Path) -> None:
    for name in ("plans.json", "dataset.json", "fold_all/checkpoint_final.pth"):
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_text("{}")
    assert choose(SkullStrip.AUTO, None, tmp_path / "w")[0] == "hd-bet"


def test_mask_of_a_visit() -> None:
    masks = (Mask(Path("a"), "01"), Mask(Path("b"), "02"))
    assert of_visit(masks, "02") == masks[1]
    assert of_visit(masks, None) is None
