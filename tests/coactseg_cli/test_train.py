import dataclasses
import errno
import shutil

import pytest
import torch

from bids_app.errors import BidsAppError
from coactseg_cli.config import Precision, TrainConfig
from coactseg_cli.errors import GridMismatch, InvalidConfig, MissingWeights, WrongWeights
from coactseg_cli.network.checkpoint import load_model
from coactseg_cli.sampling.loading import common_spacing, load_cases
from coactseg_cli.train import train
from coactseg_cli.training_step import learning_rate


@pytest.fixture
def config(tiny_prepared, tmp_path):
    return TrainConfig(
        prepared=(tiny_prepared.tree.root,),
        out_dir=tmp_path / "run",
        iterations=6,
        patch_size=(16, 16, 16),
        base_filters=2,
        checkpoint_every=3,
        name="tiny",
        precision=Precision.FP32,  # bf16 training does not repeat itself to the bit
    )


def quiet(_):
    pass


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_labels_decide_what_each_case_teaches(tiny_prepared):
    cases = {c.name: c for t in tiny_prepared.timelines for c in load_cases(t)}
    assert sorted(cases) == ["sub-01_ses-01", "sub-01_ses-02", "sub-01_ses-02_pair", "sub-02_ses-01", "sub-03"]
    pair = cases["sub-01_ses-02_pair"]
    assert pair.is_pair
    assert (pair.new == 1).any()
    assert (pair.all_baseline == 1).any()
    assert cases["sub-03"].new is None
    assert (cases["sub-03"].all_baseline == 1).any()
    assert common_spacing(cases.values()) == (3.0, 3.0, 3.0)


def test_other_spacing_is_refused(tiny_prepared):
    cases = load_cases(tiny_prepared.timelines[0])
    with pytest.raises(GridMismatch, match=r"sub-01_ses-02.*--spacing"):
        common_spacing([cases[0], dataclasses.replace(cases[1], spacing_mm=(1.0, 1.0, 3.0))])


def test_a_run_writes_a_model_that_describes_itself(config):
    model = load_model(train(config, quiet))
    assert (model.info.name, model.info.base_filters, model.info.iterations) == ("tiny", 2, 6)
    assert (model.info.spacing_mm, model.info.patch_size) == ((3.0, 3.0, 3.0), (16, 16, 16))
    assert (model.info.n_pairs, model.info.n_singles) == (1, 4)
    assert model.info.training_data == ("sub-01", "sub-02", "sub-03")
    assert (model.info.seen.n_scans, model.info.seen.in_plane_mm) == (4, (2.5, 3.0))  # each visit once, voxels of its own grid
    assert model.info.seen.slice_mm[1] == 7.5


def test_losses_have_a_row_per_iteration_and_named_columns(config):
    train(config, quiet)
    header, *lines = rows(config.out_dir / "losses.tsv")
    assert header[0] == "iteration"
    assert header[-3:] == ["total", "learning_rate", "seconds"]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]


def test_excluded_participants_are_not_seen(config):
    info = load_model(train(dataclasses.replace(config, exclude=("01",), synthetic_share=1.0), quiet)).info
    assert info.training_data == ("sub-02", "sub-03")
    assert info.n_pairs == 0


def test_resumed_run_gives_the_same_numbers(config, tmp_path):
    straight = load_model(train(config, quiet)).network.state_dict()
    halves = dataclasses.replace(config, out_dir=tmp_path / "halves", schedule="constant", relation_from=4)
    whole = load_model(train(dataclasses.replace(halves, out_dir=tmp_path / "whole"), quiet)).network.state_dict()
    train(dataclasses.replace(halves, iterations=3), quiet)
    resumed = load_model(train(dataclasses.replace(halves, resume=True), quiet)).network.state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.items())
    assert any(not torch.equal(v, resumed[k]) for k, v in straight.items())
    assert len(rows(tmp_path / "halves" / "losses.tsv")) == 7


def test_training_learns(config):
    easy = dataclasses.replace(
        config, iterations=40, pairs_per_batch=0, singles_per_batch=4, augment_strength=0.0, learning_rate=1e-2, schedule="constant"
    )
    train(easy, quiet)
    header, *lines = rows(easy.out_dir / "losses.tsv")
    total = [float(line[header.index("total")]) for line in lines]
    assert sum(total[-5:]) < 0.85 * sum(total[:5])


def test_resuming_with_other_settings_is_refused(config):
    train(config, quiet)
    with pytest.raises(InvalidConfig, match=r"learning_rate: 0\.002 then, 0\.1 now"):
        train(dataclasses.replace(config, resume=True, learning_rate=0.1), quiet)


def test_nothing_to_resume_is_said(config):
    with pytest.raises(MissingWeights, match="nothing to resume"):
        train(dataclasses.replace(config, resume=True), quiet)


def test_a_broken_checkpoint_is_named(config):
    train(config, quiet)
    (config.out_dir / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(WrongWeights, match=r"checkpoint\.pt"):
        train(dataclasses.replace(config, resume=True), quiet)


def test_no_prepared_participant_is_said(config, tiny_prepared, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(tiny_prepared.tree.root / "dataset_description.json", empty)
    with pytest.raises(BidsAppError, match="empty"):
        train(dataclasses.replace(config, prepared=(empty,)), quiet)


def test_relation_loss_comes_in_stages(config):
    assert dataclasses.replace(config, iterations=20_000).relation_start == 10_000
    assert dataclasses.replace(config, relation_from=0).relation_start == 0
    late = dataclasses.replace(config, iterations=2, relation_from=1, pairs_per_batch=0)
    train(late, quiet)
    header, *lines = rows(late.out_dir / "losses.tsv")
    values = [{k: float(v) for k, v in zip(header, line, strict=True)} for line in lines]
    for row, weight in zip(values, (0.0, 1.0), strict=True):
        dice = row["dice_all_baseline"] + row["dice_all_followup"] + row["dice_new"] + row["cross_entropy"]
        assert row["total"] == pytest.approx(dice + weight * row["relation_agreement"], abs=2e-3)


def test_learning_rate_warms_up_and_falls(config):
    c = dataclasses.replace(config, iterations=1000, learning_rate=1.0)
    assert learning_rate(0, c) == pytest.approx(0.01, rel=1e-3)
    assert learning_rate(99, c) > 0.95
    assert learning_rate(3, dataclasses.replace(c, iterations=100)) == pytest.approx(0.4, rel=0.01), "a tenth of a short run"
    assert learning_rate(999, c) == pytest.approx(0.01, abs=1e-3)
    assert learning_rate(5, dataclasses.replace(c, schedule="constant")) == 1.0


def test_a_training_is_not_lost_by_mistake(config):
    train(dataclasses.replace(config, iterations=1), quiet)
    with pytest.raises(InvalidConfig, match="OUT holds a training already"):
        train(config, quiet)
    train(dataclasses.replace(config, iterations=2, force=True), quiet)
    assert len(rows(config.out_dir / "losses.tsv")) == 3


def test_what_is_shipped_is_the_average_of_the_weights(config):
    train(config, quiet)
    content = torch.load(config.out_dir / "checkpoint.pt", weights_only=True)
    shipped = load_model(config.out_dir / "model.safetensors").network.state_dict()
    name = "encoder.block_one.conv.0.weight"
    assert torch.equal(shipped[name], content["average"][name].half().float())
    assert not torch.equal(content["average"][name], content["network"][name])
    train(dataclasses.replace(config, ema_decay=0.0, force=True), quiet)
    content = torch.load(config.out_dir / "checkpoint.pt", weights_only=True)
    assert content["average"] is None
    assert torch.equal(load_model(config.out_dir / "model.safetensors").network.state_dict()[name], content["network"][name].half().float())


def test_a_run_may_begin_with_any_model(config, tmp_path, tiny_model_file):
    begun = dataclasses.replace(config, init=str(tiny_model_file), learning_rate=0.0, iterations=1, ema_decay=0.0)
    model = load_model(train(begun, quiet)).network.state_dict()
    given = load_model(tiny_model_file).network.state_dict()
    name = "encoder.block_three.conv.3.weight"
    assert torch.equal(model[name], given[name].half().float())
    with pytest.raises(InvalidConfig, match=r"has 2 base filters; this run makes 4\. Pass --base-filters 2"):
        train(dataclasses.replace(begun, base_filters=4, force=True), quiet)
    with pytest.raises(MissingWeights):
        train(dataclasses.replace(begun, init=str(tmp_path / "none.safetensors"), force=True), quiet)


def test_what_the_first_model_saw_is_not_forgotten(config, tmp_path):
    first = train(dataclasses.replace(config, exclude=("01",), out_dir=tmp_path / "first", iterations=1), quiet)
    assert load_model(first).info.training_data == ("sub-02", "sub-03")
    second = dataclasses.replace(config, exclude=("02",), init=str(first), out_dir=tmp_path / "second", iterations=1)
    assert load_model(train(second, quiet)).info.training_data == ("sub-01", "sub-02", "sub-03")
    assert "trained on sub-02, sub-03 before" in (tmp_path / "second" / "model-card.md").read_text()
    first.unlink()
    assert load_model(train(dataclasses.replace(second, iterations=2, resume=True, init=None), quiet)).info.training_data[1] == "sub-02"


def test_a_validated_patient_whom_the_first_model_saw_is_named(config, tmp_path):
    first = train(dataclasses.replace(config, exclude=("01",), out_dir=tmp_path / "first", iterations=1), quiet)
    said = []
    train(dataclasses.replace(config, validation=("02",), init=str(first), out_dir=tmp_path / "second", iterations=1), said.append)
    assert any("--init was trained on sub-02" in line for line in said)


@pytest.fixture
def validated(config):
    return dataclasses.replace(config, fold=(1, 2), validate_every=2, synthetic_share=1.0, ema_decay=0.0)


def test_the_best_validation_chooses_the_weights(validated, monkeypatch):
    """Scores 0.1, 0.9, 0.3 at iterations 2, 4, 6: the weights of iteration 4 are written, whatever comes after."""
    scores = iter((0.1, 0.9, 0.3))
    monkeypatch.setattr("coactseg_cli.train.summary_score", lambda _: next(scores))
    seen = []
    model = load_model(train(validated, seen.append))
    assert model.info.iterations == 4
    content = torch.load(validated.out_dir / "checkpoint.pt", weights_only=True)
    assert (content["best"]["score"], content["best"]["iteration"], content["iteration"]) == (0.9, 4, 6)
    name = "encoder.block_one.conv.0.weight"
    assert torch.equal(model.network.state_dict()[name], content["best"]["weights"][name].half().float())
    assert not torch.equal(content["best"]["weights"][name], content["network"][name])
    assert {line[0] for line in rows(validated.out_dir / "validation.tsv")[1:]} == {"2", "4", "6"}
    assert "At iteration 4, which these very cases chose" in (validated.out_dir / "model-card.md").read_text()
    assert any(line.startswith("validation at 4: ") for line in seen)


def test_the_two_folds_validate_every_labelled_patient_once(validated, tmp_path):
    seen = []
    for k in (1, 2):
        out = tmp_path / str(k)
        info = load_model(train(dataclasses.replace(validated, fold=(k, 2), out_dir=out, iterations=2), quiet)).info
        patients = {line[1].split("_")[0] for line in rows(out / "validation.tsv")[1:]}
        assert not patients & set(info.training_data)
        seen += patients
    assert sorted(seen) == ["sub-01", "sub-02", "sub-03"]


def test_a_resumed_run_remembers_the_best(validated, tmp_path):
    whole = dataclasses.replace(validated, out_dir=tmp_path / "whole", schedule="constant", relation_from=0)
    train(whole, quiet)
    halves = dataclasses.replace(whole, out_dir=tmp_path / "halves")
    train(dataclasses.replace(halves, iterations=4), quiet)
    train(dataclasses.replace(halves, resume=True), quiet)
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "halves" / "model.safetensors").read_bytes()
    assert (tmp_path / "whole" / "validation.tsv").read_text() == (tmp_path / "halves" / "validation.tsv").read_text()


def test_a_test_set_is_never_read(config, tiny_prepared, tmp_path):
    """Its scans may even be broken."""
    copy = tmp_path / "prepared"
    shutil.copytree(tiny_prepared.tree.root, copy)
    for scan in copy.glob("sub-02/**/*desc-preproc_FLAIR.nii.gz"):
        scan.write_bytes(b"broken")
    left_out = dataclasses.replace(config, prepared=(copy,), exclude=("02",), iterations=1)
    assert load_model(train(left_out, quiet)).info.training_data == ("sub-01", "sub-03")
    assert "| never read | sub-02 |" in (left_out.out_dir / "model-card.md").read_text()
    with pytest.raises(BidsAppError, match="sub-02"):
        train(dataclasses.replace(left_out, exclude=(), force=True), quiet)


def test_the_same_patient_in_two_data_sets_is_on_one_side(config, tiny_prepared):
    with pytest.raises(InvalidConfig, match="would be trained on and validated on"):
        train(dataclasses.replace(config, validation_prepared=(tiny_prepared.tree.root,)), quiet)


def test_a_preview_shows_and_trains_nothing(config):
    sheet = train(dataclasses.replace(config, preview=True), quiet)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert not (config.out_dir / "checkpoint.pt").exists()
    assert not (config.out_dir / "losses.tsv").exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(config, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    train(dataclasses.replace(config, iterations=3), quiet)
    good = (config.out_dir / "checkpoint.pt").read_bytes()
    monkeypatch.setattr("coactseg_cli.training_state.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        train(dataclasses.replace(config, resume=True), quiet)
    assert (config.out_dir / "checkpoint.pt").read_bytes() == good


def test_reproducible_means_single_precision(config, monkeypatch):
    asked = []
    monkeypatch.setattr("coactseg_cli.training_step.choose_dtype", lambda *a: asked.append(a) or torch.float32)
    train(dataclasses.replace(config, reproducible=True, iterations=1, precision=Precision.AUTO), quiet)
    assert asked == []
    assert torch.backends.cudnn.deterministic
    train(dataclasses.replace(config, iterations=1, force=True), quiet)
    assert len(asked) == 1


def test_derived_labels_add_to_what_is_learned(config, tiny_prepared, tmp_path):
    copy = tmp_path / "prepared"
    shutil.copytree(tiny_prepared.tree.root, copy)
    for label in copy.glob("sub-01/ses-02/anat/*label-L_desc-new_mask.*"):
        label.unlink()
    seen = []
    for derive in (False, True):
        given = dataclasses.replace(config, prepared=(copy,), iterations=1, synthetic_share=0.0, derive_new=derive, force=True)
        train(given, quiet)
        header, line = rows(given.out_dir / "losses.tsv")
        seen.append(float(line[header.index("dice_new")]))
    # without: only (x, x, 0) teaches the new-lesion head, and an empty label gives a Dice loss of 1 to within rounding
    assert seen[0] == pytest.approx(1.0, abs=1e-4)
    assert seen[1] != seen[0]
