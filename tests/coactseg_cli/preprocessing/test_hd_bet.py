"""HD-BET's own code on a network of a few weights whose answer is known; the released weights are not needed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.preprocessing import hd_bet
from coactseg_cli.volumes import Volume, same_grid, save, to_ras

# The scan: voxel axes run to inferior, left and anterior, 10 x 20 x 30 voxels of 3 x 1 x 2 mm.
# In RAS order: 20 x 30 x 10 voxels of 1 x 2 x 3 mm; nnU-Net sees 10 x 30 x 20 (z, y, x).
AFFINE = np.array([[0.0, -1.0, 0.0, 7.0], [0.0, 0.0, 2.0, -11.0], [-3.0, 0.0, 0.0, 13.0], [0.0, 0.0, 0.0, 1.0]])
BLOB_RAS = np.s_[4:9, 10:21, 3:6]
SHIFT_RAS = (1, -2, -1)  # voxels to the right, anterior, superior by which the network moves what it finds

CONFIGURATION = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [10, 30, 20],
    "median_image_size_in_voxels": [10.0, 30.0, 20.0],
    "spacing": [3.0, 2.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    "batch_dice": False,
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [2, 2],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[5, 5, 5], [1, 1, 1]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": None,
            "norm_op_kwargs": None,
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    },
}
PLANS = {
    "dataset_name": "Dataset001_Tiny",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {"0": {}},
    "label_manager": "LabelManager",
    "configurations": {"3d_fullres": CONFIGURATION},
}
DATASET = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "brain": 1}, "numTraining": 1, "file_ending": ".nii.gz"}


def write_model(folder: Path, shift_ras: tuple[int, int, int], above: float = 0.5) -> Path:
    """An nnU-Net model that calls brain what is brighter than `above` standard deviations, moved by `shift_ras` voxels.

    All weights are 0 but one in the first convolution (the shift), the skip connection and the output.
    """
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    settings = dict(CONFIGURATION["architecture"]["arch_kwargs"])
    settings.update(conv_op=torch.nn.Conv3d, nonlin=torch.nn.LeakyReLU)
    network = PlainConvUNet(input_channels=1, num_classes=2, **settings)
    x, y, z = shift_ras
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        network.encoder.stages[0][0].convs[0].conv.weight[0, 0, 2 - z, 2 - y, 2 - x] = 1.0  # reads at i - shift
        network.decoder.stages[0].convs[0].conv.weight[0, 2, 2, 2, 2] = 1.0  # channels 0, 1 come from below, 2, 3 from the skip
        network.decoder.seg_layers[0].weight[1, 0] = 1.0
        network.decoder.seg_layers[0].bias[1] = -above
    (folder / "fold_all").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(PLANS))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_all" / "checkpoint_final.pth")
    return folder


def scan() -> Volume:
    """The scan whose blob is bright; the two outermost slices on its superior side are 0, which nnU-Net crops away."""
    ras = np.full((20, 30, 10), 10.0, np.float32)
    ras[BLOB_RAS] = 100.0
    ras[:, :, 8:] = 0.0
    return Volume(from_ras(ras), AFFINE)


def from_ras(data: np.ndarray) -> np.ndarray:
    return apply_orientation(data, ornt_transform(axcodes2ornt("RAS"), io_orientation(AFFINE)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("hd-bet") / "release", SHIFT_RAS)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("on_cpu")
def test_mask_lies_where_the_network_puts_it_in_ras(model: Path) -> None:
    native = scan()
    found = hd_bet.find_brain(native, model)
    expected = np.zeros((20, 30, 10), bool)
    expected[5:10, 8:19, 2:5] = True  # the blob, one voxel to the right, two to posterior, one to inferior
    assert found.data.shape == (10, 20, 30)
    assert found.data.dtype == bool
    assert same_grid(found, native)
    np.testing.assert_array_equal(to_ras(found).data, expected)
    np.testing.assert_array_equal(found.data, from_ras(expected))
    np.testing.assert_array_equal(hd_bet.find_brain(native, model).data, found.data)  # and again


@pytest.mark.usefixtures("on_cpu")
def test_mask_is_what_the_hd_bet_command_writes(model: Path, tmp_path: Path) -> None:
    """The command reads files with the model's own reader; here without its worker processes, at another spacing (resampled)."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    affine = AFFINE @ np.diag([0.9, 1.2, 0.7, 1.0])
    native = Volume(scan().data, affine)
    save(to_ras(native), tmp_path / "scan.nii.gz")
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), "all")
    (labels,) = predictor.predict_from_files_sequential([[str(tmp_path / "scan.nii.gz")]], None)
    found = to_ras(hd_bet.find_brain(native, model)).data
    np.testing.assert_array_equal(found, labels.transpose(2, 1, 0) > 0)
    assert 0 < found.sum() < found.size


def count_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets torch's thread count at each preparation of a scan and each convolution."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    seen: list[int] = []

    def counting(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            seen.append(torch.get_num_threads())
            return call(*args)

        return counted

    monkeypatch.setattr(DefaultPreprocessor, "run_case_npy", counting(DefaultPreprocessor.run_case_npy))
    monkeypatch.setattr(torch.nn.Conv3d, "forward", counting(torch.nn.Conv3d.forward))
    return seen


@pytest.mark.usefixtures("on_cpu")
def test_process_is_left_as_it_was(model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    for name in [n for n in sys.modules if n == "HD_BET" or n.startswith("HD_BET.")]:
        monkeypatch.delitem(sys.modules, name)  # so that the import, which replaces sys.stdout, happens here
    for name in ("nnUNet_def_n_proc", "nnUNet_n_proc_DA", "nnUNet_compile"):
        monkeypatch.delenv(name, raising=False)
    environment, threads, benchmark = dict(os.environ), torch.get_num_threads(), torch.backends.cudnn.benchmark
    during = count_threads(monkeypatch)
    torch.set_num_threads(threads + 2)
    try:
        hd_bet.find_brain(scan(), model, threads=1)
        assert torch.get_num_threads() == threads + 2
    finally:
        torch.set_num_threads(threads)
    assert set(during) == {1}  # while the scan is prepared and in the network
    assert len(during) > 2
    assert sys.stdout is mine
    assert mine.getvalue() == ""
    assert capfd.readouterr().out == ""
    assert dict(os.environ) == environment
    assert torch.backends.cudnn.benchmark == benchmark


@pytest.mark.usefixtures("on_cpu")
def test_second_folder_is_used_after_a_first(model: Path, tmp_path: Path) -> None:
    still = write_model(tmp_path / "still", (0, 0, 0))
    hd_bet.find_brain(scan(), model)
    expected = np.zeros((20, 30, 10), bool)
    expected[BLOB_RAS] = True
    np.testing.assert_array_equal(to_ras(hd_bet.find_brain(scan(), still)).data, expected)


def test_nothing_is_downloaded_where_weights_are_missing(tmp_path: Path) -> None:
    folder = tmp_path / "nothing" / "here"
    with pytest.raises(MissingWeights, match=r"missing: plans\.json, dataset\.json, fold_all/checkpoint_final\.pth") as caught:
        hd_bet.find_brain(scan(), folder)
    assert str(folder) in str(caught.value)
    assert not folder.parent.exists()


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_all/checkpoint_final.pth"])
def test_truncated_file_is_named(model: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "release"
    shutil.copytree(model, folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(WrongWeights) as caught:
        hd_bet.find_brain(scan(), folder)
    assert str(folder / name) in str(caught.value)


@pytest.mark.usefixtures("on_cpu")
def test_checkpoint_of_another_network_is_wrong(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(model, folder)
    torch.save({"trainer_name": "nnUNetTrainer"}, folder / "fold_all" / "checkpoint_final.pth")
    with pytest.raises(WrongWeights, match=r"checkpoint_final.pth: .*KeyError: 'init_args'"):
        hd_bet.find_brain(scan(), folder)


class Evil:
    """Would make a file if it were ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(model: Path, tmp_path: Path, old_format: bool) -> None:
    folder, trace = tmp_path / "release", tmp_path / "trace"
    shutil.copytree(model, folder)
    path = folder / "fold_all" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True) | {"logging": Evil(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    load = torch.load
    with pytest.raises(WrongWeights, match=r"checkpoint_final\.pth"):
        hd_bet.find_brain(scan(), folder)
    assert not trace.exists()
    assert torch.load is load
    torch.load(path, weights_only=False)  # the file is evil: without the guard it would have run
    assert trace.exists()


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("numpy_name", [b"numpy._core", b"numpy.core"])
def test_a_checkpoint_with_the_log_of_its_training_is_read(model: Path, tmp_path: Path, numpy_name: bytes) -> None:
    """nnU-Net keeps NumPy's numbers in it, under the names that NumPy had when it was written."""
    folder = tmp_path / "release"
    shutil.copytree(model, folder)
    path = folder / "fold_all" / "checkpoint_final.pth"
    log = {"ema_fg_dice": [np.float64(0.9)], "val_losses": [np.float32(-0.8)], "lrs": [0.01], "dice": np.zeros(3)}
    written = io.BytesIO()
    torch.save(torch.load(path, weights_only=True) | {"logging": log, "_best_ema": np.float64(0.9)}, written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part).replace(b"numpy._core", numpy_name))
    assert hd_bet.find_brain(scan(), folder).data.any()


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("network_class_name", "subprocess.run"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.np.load"),
        ("conv_op", "os.system"),
        ("nonlin", "torch.nn.modules.module.torch.load"),
        ("norm_op", ["torch.nn.ReLU"]),
    ],
)
def test_plans_may_name_networks_and_layers_only(model: Path, tmp_path: Path, key: str, name: object) -> None:
    folder = tmp_path / "release"
    shutil.copytree(model, folder)
    plans = json.loads((folder / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    (architecture if key == "network_class_name" else architecture["arch_kwargs"])[key] = name
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(WrongWeights, match=r"plans\.json: names .* expected networks of nnU-Net and layers of torch"):
        hd_bet.find_brain(scan(), folder)


def test_weights_lie_where_hd_bet_keeps_them_or_where_told(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert hd_bet.weights_folder(None) == Path("/home/someone/hd-bet_params/release_2.0.0")
    assert hd_bet.weights_folder(model) == model
    assert hd_bet.has_weights(model)


def test_weights_folder_is_the_one_given_else_the_environments_else_hd_bets(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("COACTSEG_HD_BET_WEIGHTS", raising=False)
    assert hd_bet.weights_folder(None) == Path("/home/someone/hd-bet_params/release_2.0.0")
    monkeypatch.setenv("COACTSEG_HD_BET_WEIGHTS", str(tmp_path))
    assert hd_bet.weights_folder(None) == tmp_path
    assert hd_bet.weights_folder(tmp_path / "mine") == tmp_path / "mine"
