"""Matrices to ITK text files and back; the shared transforms read as ITK reads them."""

from pathlib import Path

import numpy as np
import pytest

from coactseg_cli.preprocessing.itk import simpleitk, to_matrix, to_transform
from coactseg_cli.preprocessing.transforms import (
    UnreadableTransform,
    apply,
    ras_to_lps,
    read_given,
    read_itk,
    rotation_deg,
    translation,
    write_itk,
)

QUARTER = np.array([[0.0, -1.0, 0.0, 10.0], [1.0, 0.0, 0.0, -20.0], [0.0, 0.0, 1.0, 30.0], [0.0, 0.0, 0.0, 1.0]])
CENTRED = """#Insight Transform File V1.0
#Transform 0
Transform: MatrixOffsetTransformBase_double_3_3
Parameters: 0 -1 0 1 0 0 0 0 1 10 20 30
FixedParameters: 1 2 3
"""


def test_a_file_keeps_every_digit(tmp_path: Path) -> None:
    matrix = QUARTER.copy()
    matrix[:3, 3] = [1 / 3, -np.pi, 1e-7]
    write_itk(tmp_path / "a_xfm.txt", matrix)
    assert np.array_equal(read_itk(tmp_path / "a_xfm.txt"), matrix)


def test_itk_reads_our_file(tmp_path: Path) -> None:
    write_itk(tmp_path / "a.txt", QUARTER)
    transform = simpleitk().ReadTransform(str(tmp_path / "a.txt"))
    # (1, 2, 3) in RAS is (-1, -2, 3) in LPS; turned and shifted it is (8, -19, 33) in RAS, (-8, 19, 33) in LPS.
    assert transform.TransformPoint((-1.0, -2.0, 3.0)) == pytest.approx((-8.0, 19.0, 33.0))


def test_centre_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(CENTRED)
    # LPS (4, 5, 6): minus the centre (3, 3, 3), turned (-3, 3, 3), plus centre and translation (8, 25, 36).
    assert apply(ras_to_lps(read_itk(tmp_path / "a.txt")), np.array([[4.0, 5.0, 6.0]]))[0] == pytest.approx([8.0, 25.0, 36.0])


def test_to_transform_and_back() -> None:
    assert to_matrix(to_transform(QUARTER)) == pytest.approx(QUARTER)


def test_shared_transforms_are_affine_with_little_scaling() -> None:
    files = sorted(Path("../shared/data/open-ms-longitudinal/derivatives/labels").rglob("*_xfm.txt"))
    if not files:
        pytest.skip("../shared/data is not there")
    for file in files:
        assert np.linalg.det(read_itk(file)[:3, :3]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "got nothing"),
        ("Transform: Euler3DTransform_double_3_3\nParameters: 0 0 0 1 2 3\nFixedParameters: 0 0 0\n", "Euler3D"),
        (CENTRED.replace("30", "thirty"), "numbers"),
        (CENTRED + CENTRED, "more than one"),
        (CENTRED.replace("0 -1 0 1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0"), "inverted"),
    ],
)
def test_refuses_what_is_not_one_linear_transform(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UnreadableTransform, match=what):
        read_itk(tmp_path / "a.txt")


def test_refuses_binary_and_absent_files(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"\xff\xfe\x00")
    for name in ("a.mat", "absent.txt"):
        with pytest.raises(UnreadableTransform, match="cannot be read"):
            read_itk(tmp_path / name)


def test_a_common_space_needs_a_transform() -> None:
    assert read_given(Path("a_mask.nii.gz"), None, None) is None
    assert read_given(Path("a_mask.nii.gz"), "orig", None) is None
    with pytest.raises(UnreadableTransform, match=r"from-FLAIR_to-common_mode-image_xfm\.txt"):
        read_given(Path("a_mask.nii.gz"), "common", None)


def test_rotation_and_translation() -> None:
    assert rotation_deg(QUARTER) == pytest.approx(90.0)
    assert rotation_deg(translation((1, 2, 3))) == 0.0
    assert apply(translation((1, 2, 3)), np.zeros((1, 3))).tolist() == [[1.0, 2.0, 3.0]]
