"""A state dict of another width, brought in through the command line, gives the published code's probabilities on the scan's own grid."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from coactseg_cli.__main__ import main
from coactseg_cli.network.model import VNet
from tests.coactseg_cli.network.conftest import vectors
from tests.coactseg_cli.network.test_inference import plain_windows, scans

OBLIQUE = np.array([[0.0, 0.7, -0.4, 3.0], [-0.7, 0.0, 0.0, 4.0], [0.0, 0.4, 0.7, 5.0], [0.0, 0.0, 0.0, 1.0]])
AFFINES = {"identity": np.eye(4), "left first": np.diag([-0.5, 0.75, 0.75, 1.0]), "oblique": OBLIQUE}


def write_bids(root, baseline, followup, affine):
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"Name": "two volumes", "BIDSVersion": "1.10.0"}))
    for session, data in (("01", baseline), ("02", followup)):
        folder = root / "sub-x" / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        nib.save(image, folder / f"sub-x_ses-{session}_FLAIR.nii.gz")


def run(tmp_path, network, baseline, followup, affine, patch, stride):
    write_bids(tmp_path / "bids", baseline, followup, affine)
    torch.save(network.state_dict(), tmp_path / "foreign.pth")
    flags = f"--inference windows --patch-size {patch} --stride {stride} --preregistered --spacing native --normalize none"
    flags += " --skull-strip none --all-lesion-from pair"
    out = tmp_path / "out"
    assert main([str(tmp_path / "bids"), str(out), "participant", "--model", str(tmp_path / "foreign.pth"), *flags.split()]) == 0
    return out


def probability(out, session, desc, space):
    return nib.load(out / f"sub-x/ses-{session}/anat/sub-x_ses-{session}_space-{space}_label-L_desc-{desc}_probseg.nii.gz")


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("filters", [3])
def test_new_lesion_probabilities_equal_the_written_out_windows(tmp_path, affine, filters):
    torch.manual_seed(1)
    network = VNet(filters).eval()
    baseline, followup = scans((41, 30, 36))
    baseline[:5] = followup[:5] = 0.0
    out = run(tmp_path, network, baseline, followup, affine, 32, 8)
    expected = plain_windows(network, baseline, followup, (32, 32, 32), (8, 8, 8))
    for space in ("orig", "individual"):
        image = probability(out, "02", "new", space)
        np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-4)
        np.testing.assert_allclose(image.affine, affine, atol=1e-6)


def test_all_three_heads_equal_the_published_answers(tmp_path, published):
    network, _ = published
    stored = vectors("sliding_window")
    out = run(tmp_path, network, stored["baseline"], stored["followup"], np.eye(4), int(stored["patch"]), int(stored["stride"]))
    for session, desc, name in (("01", "all", "all_baseline"), ("02", "all", "all_followup"), ("02", "new", "new")):
        np.testing.assert_allclose(probability(out, session, desc, "orig").get_fdata(), stored[f"prob_{name}"], atol=1e-4)
