"""Hostile model files: each is refused with a sentence that names the file, nothing runs, and nothing large is allocated."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.network.checkpoint import CheckpointInfo, load_model, save_model
from coactseg_cli.network.model import VNet
from coactseg_cli.network.model_file import MAX_HEADER_BYTES, look_at

FIRST = "encoder.block_one.conv.0.weight"


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """The bytes of a file with this header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: object, start: object, stop: object, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


TWO = {"a": entry([2], 0, 8), "b": entry([2], 8, 16)}
HOSTILE = {
    "empty": b"",
    "shorter than its length field": b"\x01\x02",
    "header of 2**63 bytes": safetensors({}, length=2**63),
    "header longer than the file": safetensors(TWO, b"\0" * 16, length=10_000),
    "no JSON": safetensors(b"not json at all"),
    "no UTF-8": safetensors(b'{"\xff": 1}'),
    "JSON as deep as a well": safetensors(b"[" * 200_000),
    "a list": safetensors([1, 2]),
    "tensor that is a number": safetensors({"a": 3}),
    "unknown type": safetensors({"a": entry([2], 0, 8, "F1000")}, b"\0" * 8),
    "shape that is a text": safetensors({"a": entry("22", 0, 8)}, b"\0" * 8),
    "shape of 2**40 values": safetensors({"a": entry([2**20, 2**20], 0, 8)}, b"\0" * 8),
    "shape whose product overflows": safetensors({"a": entry([2**62, 2**62], 0, 8)}, b"\0" * 8),
    "a thousand dimensions": safetensors({"a": entry([1] * 1000, 0, 4)}, b"\0" * 4),
    "negative shape": safetensors({"a": entry([-2, -1], 0, 8)}, b"\0" * 8),
    "true for 1": safetensors({"a": entry([True], 0, 4)}, b"\0" * 4),
    "offsets past the end": safetensors({"a": entry([4], 0, 16)}, b"\0" * 8),
    "offsets that overlap": safetensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, b"\0" * 12),
    "offsets that run backwards": safetensors({"a": entry([2], 8, 0)}, b"\0" * 8),
    "negative offsets": safetensors({"a": entry([2], -8, 0)}, b"\0" * 8),
    "a gap": safetensors({"a": entry([2], 4, 12)}, b"\0" * 12),
    "bytes left over": safetensors(TWO, b"\0" * 17),
    "metadata that are a list": safetensors({"__metadata__": ["x"], **TWO}, b"\0" * 16),
    "metadata that are no texts": safetensors({"__metadata__": {"coactseg": {"name": "x"}}, **TWO}, b"\0" * 16),
    "another network": safetensors(TWO, b"\0" * 16),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_by_name(content, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(WrongWeights, match=r"m\.safetensors"):
        load_model(path)


def test_a_header_is_not_read_beyond_its_limit(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES + 100)  # a hole: no byte of it is stored
    with pytest.raises(WrongWeights, match=f"claims {MAX_HEADER_BYTES + 1} bytes; at most {MAX_HEADER_BYTES}"):
        look_at(path)


def test_a_file_of_a_terabyte_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(WrongWeights, match=f"{2**40} bytes"):
        load_model(path)


@pytest.mark.parametrize("filters", [0, 257, 4000])
def test_a_network_that_is_too_wide_is_refused_before_it_is_made(filters, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({FIRST: torch.zeros(filters, 3, 3, 3, 3, dtype=torch.float16)}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WrongWeights, match=f"{filters} filters; expected 1 to 256"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; the network would take 400 GB


def test_a_wide_network_without_its_weights_is_refused_before_it_is_made(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({FIRST: torch.zeros(256, 3, 3, 3, 3, dtype=torch.float16)}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WrongWeights, match="missing"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; the network would take 2 GB


def changed(small: VNet, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**small.state_dict(), **{name.replace("__", "."): value for name, value in changes.items()}}


def test_values_that_a_pickled_tensor_only_claims_are_refused(small, tmp_path):
    """A view with stride 0: its shape is right, its storage holds one value."""
    shape = small.state_dict()["encoder.block_five.conv.0.weight"].shape
    torch.save(changed(small, encoder__block_five__conv__0__weight=torch.zeros(1).expand(shape)), tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=r"claims .* values that the file does not hold"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_weights_of_another_type_are_refused(small, tmp_path, dtype):
    torch.save(changed(small, decoder__out_conv_3__bias=torch.zeros(2, dtype=dtype)), tmp_path / "m.pth")
    with pytest.raises(WrongWeights, match=rf"out_conv_3\.bias' is of type {dtype}"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(small, tmp_path, value):
    state = {k: v.contiguous() for k, v in changed(small, decoder__out_conv_3__bias=torch.tensor([0.0, value])).items()}
    (tmp_path / "m.safetensors").write_bytes(save(state))
    with pytest.raises(WrongWeights, match=r"m\.safetensors.*out_conv_3\.bias' holds values that are not finite"):
        load_model(tmp_path / "m.safetensors")


METADATA = [
    {"name": "x" * 201},
    {"name": "two\nlines"},
    {"name": "bell\x07"},
    {"name": "right-to-left\u202e"},
    {"name": ["x"]},
    {"base_filters": "16"},
    {"base_filters": True},
    {"patch_size": [80, 80]},
    {"patch_size": [80, 80, -80]},
    {"patch_size": 80},
    {"spacing_mm": [1, 1, 1e9]},
    {"spacing_mm": {"x": 1}},
    {"threshold_all": "0.5"},
    {"threshold_new": 1},
    {"temperature_all": 0},
    {"n_pairs": 1.5},
    {"n_pairs": 10**12},
    {"n_singles": -1},
    {"training_data": "sub-01"},
    {"training_data": ["ok", "\x1b[31mred"]},
    {"iterations": "many"},
    {"version": 3},
    {"normalisation": None},
]


@pytest.mark.parametrize("fields", METADATA, ids=str)
def test_metadata_of_the_wrong_kind_are_refused_by_name(small, tmp_path, fields):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({k: v.contiguous() for k, v in small.state_dict().items()}, {"coactseg": json.dumps(fields)}))
    for read in (load_model, look_at):
        with pytest.raises(WrongWeights, match=rf"m\.safetensors: the metadata .*{next(iter(fields))} must be"):
            read(path)


@pytest.mark.parametrize(
    "text", ['{"spacing_mm": [NaN, 1, 1]}', '{"threshold_all": NaN}', '{"n_pairs": ' + "9" * 5000 + "}", "[" * 100_000]
)
def test_metadata_that_no_number_can_be(small, tmp_path, text):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({k: v.contiguous() for k, v in small.state_dict().items()}, {"coactseg": text}))
    with pytest.raises(WrongWeights, match="metadata"):
        load_model(path)


def test_markup_and_formulas_in_a_name_are_text(small, tmp_path):
    """They are no reason to refuse a file: pages and tables write them harmlessly (test_hostile_text.py)."""
    info = CheckpointInfo(name="<script>alert(1)</script>", training_data=("=HYPERLINK(1)",))
    save_model(small, info, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").info.name == info.name


def test_looking_needs_no_torch_and_agrees_with_loading(small, tmp_path):
    save_model(small, CheckpointInfo(name="tiny", spacing_mm=(0.5, 0.75, 1.0), n_pairs=3), tmp_path / "m.safetensors")
    torch.save(small.state_dict(), tmp_path / "m.pth")
    for name in ("m.safetensors", "m.pth"):
        seen, loaded = look_at(tmp_path / name), load_model(tmp_path / name)
        assert (seen.sha256, seen.spacing_mm, seen.normalisation) == (loaded.sha256, loaded.spacing_mm, loaded.normalisation)
    code = "import sys; from pathlib import Path; from coactseg_cli.network.model_file import look_at; look_at(Path(sys.argv[1]))"
    words = [sys.executable, "-c", code + "; print('torch' in sys.modules)", str(tmp_path / "m.safetensors")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    with pytest.raises(MissingWeights, match=r"none\.pth"):
        look_at(tmp_path / "none.pth")


# ---- pickles


class Evil:
    """Would make a file if it were ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.trace}'",)


def evil_files(trace: Path, state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """A command to run in every way that a .pth file can hold one."""
    new, old, among = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(Evil(trace), new)
    torch.save(Evil(trace), old, _use_new_zipfile_serialization=False)
    torch.save({**state, "extra": Evil(trace)}, among)
    return {"zip": new.getvalue(), "old": old.getvalue(), "among weights": among.getvalue(), "bare": pickle.dumps(Evil(trace))}


@pytest.mark.parametrize("way", ["zip", "old", "among weights", "bare"])
@pytest.mark.parametrize("name", ["m.pth", "m.pt", "m.bin", "m.safetensors"])
def test_code_in_a_file_is_refused_and_not_run(way, name, small, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / name
    path.write_bytes(evil_files(trace, small.state_dict())[way])
    with pytest.raises(WrongWeights, match=name.replace(".", r"\.")):
        load_model(path)
    assert not trace.exists()


def test_the_evil_file_is_evil(tmp_path):
    """Without this, a file that does nothing anyway would pass the test above."""
    pickle.loads(evil_files(tmp_path / "trace", {})["bare"])
    assert (tmp_path / "trace").exists()


def test_a_file_that_unpacks_to_more_than_itself_is_refused(tmp_path):
    path = tmp_path / "m.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(WrongWeights, match="compressed or overlap"):
        load_model(path)
