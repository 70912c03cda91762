import json
import math

import torch

from bids_app.tables import Column
from coactseg_cli.config import TrainConfig
from coactseg_cli.network.losses import LossTerms
from coactseg_cli.training_card import card
from coactseg_cli.training_files import LOSSES, VALIDATION, Board, Curve, Notebook, clean_up, write_config
from coactseg_cli.validation import COLUMNS
from tests.coactseg_cli.test_validation import row

ABOUT = {"iteration": Column("n"), "x": Column("a number", "mm")}


def test_a_curve_grows_and_forgets_what_comes_after_the_checkpoint(tmp_path):
    path = tmp_path / "c.tsv"
    curve = Curve(path, ABOUT, 0)
    for i in range(1, 5):
        curve.add({"iteration": i, "x": i / 3})
    curve.flush()
    assert path.read_text().splitlines()[:3] == ["iteration\tx", "1\t0.333333", "2\t0.666667"]
    assert json.loads((tmp_path / "c.json").read_text())["x"] == {"Description": "a number", "Units": "mm"}
    again = Curve(path, ABOUT, 2)
    again.add({"iteration": 3, "x": math.nan})
    again.flush()
    assert [line.split("\t") for line in path.read_text().splitlines()[1:]] == [["1", "0.333333"], ["2", "0.666667"], ["3", "n/a"]]
    assert [r["iteration"] for r in again.read()] == ["1", "2", "3"]


def test_a_row_that_a_kill_cut_off_is_forgotten(tmp_path):
    path = tmp_path / "c.tsv"
    path.write_text("iteration\tx\n1\t0.5\n2\t0.2")
    assert [r["iteration"] for r in Curve(path, ABOUT, 2).read()] == ["1"]


def test_a_new_run_begins_with_empty_curves(tmp_path):
    path = tmp_path / "c.tsv"
    path.write_text("iteration\tx\n1\t0.5\n")
    assert Curve(path, ABOUT, 0).read() == []


def test_every_column_is_described():
    assert set(LOSSES) == {"iteration", *LossTerms._fields, "learning_rate", "seconds"}
    assert tuple(VALIDATION) == COLUMNS


def test_curves_are_there_for_tensorboard(tmp_path):
    board = Board(tmp_path / "events", 0)
    board.add("train", {"iteration": 1, "total": 0.5, "undefined": math.nan}, 1)
    board.close()
    (file,) = (tmp_path / "events").glob("events.out.tfevents.*")
    content = file.read_bytes()
    assert b"train/total" in content
    assert b"undefined" not in content


def test_a_notebook_keeps_losses_and_validations(tmp_path):
    notes = Notebook(TrainConfig(prepared=(), out_dir=tmp_path), 0)
    terms = LossTerms(*(torch.tensor(float(i)) for i in range(8)))
    assert notes.add_losses(1, terms, 0.01, 2.0)["total"] == 7.0
    notes.add_validation([row(iteration=1)], 0.5, 1)
    notes.flush()
    assert notes.losses.read()[0]["relation_present"] == "6"
    assert notes.validation.read()[0]["case"] == "sub-1"
    assert json.loads((tmp_path / "config.json").read_text())["learning_rate"] == 0.002


def test_the_card_says_who_chose_the_weights_and_what_is_undefined(tmp_path):
    config = TrainConfig(prepared=(), out_dir=tmp_path, name="a|b", exclude=("09",))
    text = card(config, {"trained on": "x"}, [row(lesion_f1=math.nan)], "coactseg train P O")
    assert "Research use only" in text
    assert "At iteration 3, which these very cases chose: the figures are optimistic." in text
    assert "| sub-1 | all | 0.500 | n/a | 0.500 | 0.500 | 1 | 1 |" in text
    assert "| name | a\\|b |" in text
    assert "    coactseg train P O" in text


def test_the_card_says_that_nothing_was_validated(tmp_path):
    assert "nothing is known of how well this model does" in card(TrainConfig(prepared=(), out_dir=tmp_path), {}, [], "c")


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    (tmp_path / "cache" / ".tmp-1").mkdir(parents=True)
    (tmp_path / "cache" / ".tmp-1" / "a.npy").write_bytes(b"")
    (tmp_path / ".tmp-2").write_bytes(b"")
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    clean_up(tmp_path)
    assert [p.name for p in sorted(tmp_path.rglob("*"))] == ["cache", "checkpoint.pt"]


def test_settings_are_json(tmp_path):
    write_config(TrainConfig(prepared=(tmp_path,), out_dir=tmp_path, fold=(1, 3)))
    assert json.loads((tmp_path / "config.json").read_text())["fold"] == [1, 3]
