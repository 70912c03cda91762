import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.network.checkpoint import CheckpointInfo, load_model, save_model
from coactseg_cli.network.model import VNet
from coactseg_cli.seen import ScanProfile, ranges_of

INFO = CheckpointInfo(
    name="tiny", patch_size=(32, 48, 64), spacing_mm=(0.5, 0.75, 1.0), n_pairs=1, n_singles=2, training_data=("sub-1",), iterations=7
)


def test_round_trip_keeps_weights_and_metadata(small, tmp_path):
    save_model(small, INFO, tmp_path / "m.safetensors", half=False)
    model = load_model(tmp_path / "m.safetensors")
    assert all(torch.equal(v, small.state_dict()[k]) for k, v in model.network.state_dict().items())
    assert (model.info.patch_size, model.info.spacing_mm, model.info.iterations) == ((32, 48, 64), (0.5, 0.75, 1.0), 7)
    assert model.info.base_filters == 2
    assert model.info.version


def test_what_training_saw_travels_along(small, tmp_path):
    profiles = [ScanProfile(0.7, ml / 400, (130.0, 160.0, 120.0), ml, (-2.0, -0.3, 0.2, 0.6, 1.0, 1.5)) for ml in (1200.0, 1400.0)]
    save_model(small, dataclasses.replace(INFO, seen=ranges_of(profiles)), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").info.seen == ranges_of(profiles)
    save_model(small, INFO, tmp_path / "old.safetensors")
    assert load_model(tmp_path / "old.safetensors").info.seen is None


@pytest.mark.parametrize("seen", [3, [1, 2], {"n_scans": 1}, {"n_scans": 1, "slice_mm": "wide"}])
def test_ranges_that_are_none_are_refused(small, tmp_path, seen):
    content = {k: v.contiguous() for k, v in small.state_dict().items()}
    save_file(content, tmp_path / "m.safetensors", {"coactseg": json.dumps({"seen": seen})})
    with pytest.raises(WrongWeights, match="metadata"):
        load_model(tmp_path / "m.safetensors")


def test_half_precision_is_smaller_and_close(small, tmp_path):
    save_model(small, INFO, tmp_path / "half.safetensors")
    save_model(small, INFO, tmp_path / "full.safetensors", half=False)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (tmp_path / "full.safetensors").stat().st_size
    for k, v in load_model(tmp_path / "half.safetensors").network.state_dict().items():
        assert torch.allclose(v.float(), small.state_dict()[k].float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}])
@pytest.mark.parametrize("filters", [2, 5])
def test_state_dicts_of_any_width(tmp_path, wrap, filters):
    network = VNet(filters)
    torch.save(wrap(network.state_dict()), tmp_path / "m.pth")
    model = load_model(tmp_path / "m.pth")
    assert model.info.base_filters == filters
    assert not model.network.training


def test_research_line_counts_and_says_when_it_cannot(small, tmp_path):
    save_model(small, INFO, tmp_path / "m.safetensors")
    torch.save(small.state_dict(), tmp_path / "m.pth")
    assert load_model(tmp_path / "m.safetensors").research_line == "Research use only; model trained on 1 pair and 2 single scans."
    assert "Research use only" in load_model(tmp_path / "m.pth").research_line


def test_missing_file_is_named(tmp_path):
    with pytest.raises(MissingWeights, match=r"none\.pth.*miccai2023"):
        load_model(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_truncated_file_is_refused_with_its_size(small, tmp_path, name, keep):
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(small.state_dict(), path)
    else:
        save_model(small, INFO, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(WrongWeights, match=f"{name}.*{path.stat().st_size} bytes"):
        load_model(path)


def test_wrong_shape_names_both(small, tmp_path):
    state = small.state_dict()
    state["decoder.out_conv_2.weight"] = torch.zeros(3, 2, 1, 1, 1)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=r"out_conv_2.*\(3, 2, 1, 1, 1\).*\(2, 2, 1, 1, 1\)"):
        load_model(tmp_path / "m.pth")


def test_wrong_number_of_channels_names_both(small, tmp_path):
    state = small.state_dict()
    state["encoder.block_one.conv.0.weight"] = torch.zeros(2, 1, 3, 3, 3)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=r"three input channels.*\(2, 1, 3, 3, 3\)"):
        load_model(tmp_path / "m.pth")


def test_foreign_network_is_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=r"block_one.*conv\.weight"):
        load_model(tmp_path / "m.pth")


def test_missing_layer_is_named(small, tmp_path):
    state = small.state_dict()
    del state["decoder.out_conv_3.bias"]
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=r"missing \['decoder\.out_conv_3\.bias'\]"):
        load_model(tmp_path / "m.pth")


def test_values_that_are_not_finite_are_refused(small, tmp_path):
    state = small.state_dict()
    state["decoder.out_conv_3.bias"][0] = float("nan")
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match="not finite"):
        load_model(tmp_path / "m.pth")


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


def test_code_in_a_pickle_is_not_run(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match="refused"):
        load_model(tmp_path / "m.pth")
    assert "run!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "metadata", ["{", "[1]", json.dumps({"spacing_mm": [0, 0, 0]}), json.dumps({"threshold_new": 2}), json.dumps({"spacing_mm": "x"})]
)
def test_broken_metadata_is_refused(small, tmp_path, metadata):
    state = {k: v.contiguous() for k, v in small.state_dict().items()}
    save_file(state, tmp_path / "m.safetensors", {"coactseg": metadata})
    with pytest.raises(WrongWeights, match="metadata"):
        load_model(tmp_path / "m.safetensors")
