"""The command line: every option reaches its configuration, odd words give one line and the right exit code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bids_app import errors as bids
from bids_app.cases import LabelKind
from coactseg_cli import errors, runner
from coactseg_cli import option_values as values
from coactseg_cli.__main__ import EXIT_CODES, main
from coactseg_cli.config import (
    AllLesionFrom,
    Anatomical,
    DatasetConfig,
    EvaluateConfig,
    Executor,
    Inference,
    Missing,
    Normalize,
    Pairing,
    Precision,
    PrepConfig,
    RunConfig,
    SegmentConfig,
    SkullStrip,
    TrainConfig,
)
from coactseg_cli.plan import Plan, effective

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that prep and segment were called with."""
    seen: list[Plan] = []
    monkeypatch.setattr(runner, "run_participants", lambda plan: seen.append(plan) or 0)
    return seen


def plan_of(plans: list[Plan], *words: str, command: str = "segment") -> Plan:
    assert main([command, "B", "O", "participant", *words]) == 0
    return plans[-1]


# option -> part of the plan, field, value
EVERY_OPTION: list[tuple[str, str, str, Any]] = [
    ("--participant-label sub-01 02,03", "dataset", "participant_labels", ("01", "02", "03")),
    ("--session-label ses-a b", "dataset", "session_labels", ("a", "b")),
    ("--bids-filter-file {tmp}", "dataset", "bids_filter_file", "{tmp}"),
    ("--bids-database-dir db", "dataset", "bids_database_dir", Path("db")),
    ("-d labels={tmp}", "dataset", "derivatives", {"labels": "{tmp}"}),
    ("--skip-bids-validation", "dataset", "skip_bids_validation", True),
    ("--skull-strip none", "prep", "skull_strip", SkullStrip.NONE),
    ("--hd-bet-weights {tmp}", "prep", "hd_bet_weights", "{tmp}"),
    ("--no-n4", "prep", "n4", False),
    ("--normalize none", "prep", "normalize", Normalize.NONE),
    ("--spacing 0.5,0.75,0.75", "prep", "spacing_mm", (0.5, 0.75, 0.75)),
    ("--subject-anatomical-reference first-lex", "prep", "anatomical", Anatomical.FIRST_LEX),
    ("--preregistered", "prep", "preregistered", True),
    ("--label-desc a=new desc-b=ignore-all", "prep", "label_desc", {"a": LabelKind.NEW, "b": LabelKind.IGNORE_ALL}),
    ("--nprocs 6 --omp-nthreads 3", "prep", "omp_threads", 3),
    ("--model miccai2023", "segment", "model", "miccai2023"),
    ("--inference windows", "segment", "inference", Inference.WINDOWS),
    ("--patch-size 32,48,64", "segment", "patch_size", (32, 48, 64)),
    ("--stride 8", "segment", "stride", (8, 8, 8)),
    ("--tile 96", "segment", "tile", 96),
    ("--all-lesion-from pair", "segment", "all_lesion_from", AllLesionFrom.PAIR),
    ("--pairs first", "segment", "pairs", Pairing.FIRST),
    ("--threshold-all 0.3", "segment", "threshold_all", 0.3),
    ("--threshold-new 0.4", "segment", "threshold_new", 0.4),
    ("--min-lesion-mm3 10", "segment", "min_lesion_mm3", 10.0),
    ("--noise-mm3 7", "segment", "noise_mm3", 7.0),
    ("--noise-share 0.1", "segment", "noise_share", 0.1),
    ("--min-overlap 0.3", "segment", "min_overlap", 0.3),
    ("--self-check", "segment", "self_check", True),
    ("--precision fp32", "segment", "precision", Precision.FP32),
    ("--device cuda:1", "segment", "device", "cuda:1"),
    ("--output-probabilities no", "segment", "output_probabilities", False),
    ("--nprocs 6 --omp-nthreads 3", "segment", "threads", 3),
    ("--nprocs 6", "run", "nprocs", 6),
    ("--nprocs 6 --omp-nthreads 3", "run", "omp_threads", 3),
    ("--mem 8G", "run", "mem_mb", 8000),
    ("-w W", "run", "work_dir", Path("W")),
    ("--stop-on-first-crash", "run", "stop_on_first_crash", True),
    ("--dry-run", "run", "dry_run", True),
    ("--dry-run --json", "run", "as_json", True),
    ("--force", "run", "force", True),
    ("--reports-only", "run", "reports_only", True),
    ("--from-probabilities", "run", "from_probabilities", True),
    ("--from-masks {tmp}", "run", "from_masks", "{tmp}"),
    ("--executor slurm", "run", "executor", Executor.SLURM),
    ("--executor slurm --slurm partition=long exclusive", "run", "slurm", {"partition": "long", "exclusive": ""}),
    ("--slurm-array-parallelism 7", "run", "slurm_array_parallelism", 7),
    ("--executor slurm --no-wait", "run", "wait", False),
    ("-vv", "run", "verbose", 2),
]


@pytest.mark.parametrize(("words", "part", "field", "value"), EVERY_OPTION)
def test_an_option_reaches_its_field(plans: list[Plan], tmp_path: Path, words: str, part: str, field: str, value: Any) -> None:
    def real(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: real(item) for key, item in x.items()}
        return tmp_path if x == "{tmp}" else x

    plan = plan_of(plans, *words.replace("{tmp}", str(tmp_path)).split())
    assert getattr(getattr(plan, part), field) == real(value)
    assert getattr(getattr(plan_of(plans, "--nprocs", "2", "--omp-nthreads", "2"), part), field) != real(value)


def test_every_field_has_an_option() -> None:
    reached = {(part, field) for _, part, field, _ in EVERY_OPTION}
    parts = {"dataset": DatasetConfig, "prep": PrepConfig, "segment": SegmentConfig, "run": RunConfig}
    every = {(part, item.name) for part, kind in parts.items() for item in fields(kind)}
    assert every - reached == {("dataset", "bids_dir"), ("dataset", "out_dir")}


def test_without_options_the_configurations_defaults_hold(plans: list[Plan]) -> None:
    plan = plan_of(plans, "--nprocs", "1")
    assert plan.prep == PrepConfig()
    assert plan.segment == SegmentConfig()
    assert plan.run == RunConfig()
    assert plan.dataset == DatasetConfig(bids_dir=Path("B"), out_dir=Path("O"))
    assert plan.model_decides == {"spacing_mm", "normalize", "n4"}


def test_what_the_user_names_the_model_does_not_decide(plans: list[Plan]) -> None:
    assert plan_of(plans, "--spacing", "1", "--normalize", "zscore").model_decides == {"n4"}
    assert plan_of(plans, "--spacing", "1", "--normalize", "zscore", "--n4").model_decides == set()


def test_intensities_left_alone_are_not_bias_corrected_unless_asked(plans: list[Plan]) -> None:
    assert plan_of(plans, "--normalize", "none").prep.n4 is False
    assert plan_of(plans, "--normalize", "none", "--n4").prep.n4 is True
    assert plan_of(plans, "--normalize", "zscore").prep.n4 is True
    assert plan_of(plans, "--spacing", "native", "--preregistered").prep.spacing_mm is None


def test_no_subcommand_is_segment_and_lists_may_come_first(plans: list[Plan]) -> None:
    assert main(["--participant_label", "sub-01", "02", "B", "O", "participant"]) == 0
    assert plans[0].dataset.participant_labels == ("01", "02")
    assert plans[0].segment is not None
    assert plan_of(plans, command="prep").segment is None


def test_harmless_options_of_other_apps_are_taken(plans: list[Plan]) -> None:
    assert plan_of(plans, "--notrack", "--output-layout", "bids", "--nprocs", "1") == plan_of(plans, "--nprocs", "1")


def test_the_command_line_wins_over_the_file(plans: list[Plan], tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("spacing = 2\nn4 = false\nparticipant_label = ['07', '08']\nthreshold-all = 0.25\noutput-probabilities = 'no'\n")
    plan = plan_of(plans, "--config-file", str(file), "--spacing", "1.5", "--participant-label", "01")
    assert plan.prep.spacing_mm == (1.5, 1.5, 1.5)
    assert plan.prep.n4 is False
    assert plan.dataset.participant_labels == ("01",)
    assert plan.segment is not None
    assert plan.segment.threshold_all == 0.25
    assert plan.segment.output_probabilities is False
    assert "spacing_mm" not in plan.model_decides


def test_the_file_that_a_run_leaves_gives_the_same_run(plans: list[Plan], tmp_path: Path) -> None:
    words = ["--participant-label", "01", "--skull-strip", "none", "--label-desc", "x=ignore-new", "--tile", "96", "--nprocs", "4"]
    words += ["--omp-nthreads", "2", "--mem", "9G", "--output-probabilities", "no", "-d", f"labels={tmp_path}", "--pairs", "all"]
    first = plan_of(plans, *words)
    file = tmp_path / "a.toml"
    file.write_text(effective(first, None))
    again = plan_of(plans, "--config-file", str(file))
    assert replace(again, model_decides=first.model_decides) == first


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("segment B O participant --tile 33", 2, "--tile must be a multiple of 16"),
        ("segment B O participant --spacing native", 2, "--spacing native needs --preregistered"),
        ("segment B O participant --spacing 1,2", 2, "--spacing takes"),
        ("segment B O participant --patch-size 32x", 2, "--patch-size takes"),
        ("segment B O participant --threshold-all 2", 2, "--threshold-all must lie"),
        ("segment B O participant --threshold-all x", 2, "--threshold-all"),
        ("segment B O participant --skull-strip [/bold]", 2, "[/bold]"),
        ("segment B O participant --mem lots", 2, "--mem takes"),
        ("segment B O participant --mem 0", 2, "--mem takes"),
        ("segment B O participant --device tpu", 2, "--device takes"),
        ("segment B O participant --nprocs 2 --omp-nthreads 3", 2, "--omp-nthreads is the CPUs"),
        ("segment B O participant --nprocs 0", 2, "--nprocs"),
        ("segment B O participant --participant-label ../x", 2, "--participant-label must be a BIDS label"),
        ("segment B O participant --participant-label sub-", 2, "--participant-label"),
        ("segment B O participant --label-desc x=odd", 2, "--label-desc takes NAME=KIND"),
        ("segment B O participant --no-such-option", 2, "--no-such-option"),
        ("segment B O", 2, "level"),
        ("segment B O [/red] more", 2, "more"),
        ("segment B O [/red]", 17, "must be 'participant' or 'group'; got '[/red]'"),
        ("prep B O group", 17, "must be 'participant'; got 'group'"),
        ("segment B O participant -d labels=nowhere", 66, "--derivatives labels: nowhere does not exist"),
        ("segment B O participant --config-file nowhere.toml", 66, "nowhere.toml does not exist"),
        ("segment B O participant --bids-filter-file nowhere.json", 66, "nowhere.json does not exist"),
        ("segment nowhere O participant", 66, "nowhere"),
        ("segment B nowhere group", 66, "nowhere"),
        ("train nowhere O", 66, "nowhere does not exist"),
        ("segment . O participant --all-lesion-from pair --subject-anatomical-reference sessionwise", 2, "--all-lesion-from pair needs"),
        ("segment . O participant --mem 100", 2, "--mem 100 MB does not hold"),
        ("segment . O participant -w ./work", 2, "--work-dir work lies in the raw data set"),
    ],
)
def test_mistakes_give_one_line_and_their_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("coactseg: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidConfig("x"), 2),
        (bids.MadeDifferently("x"), 2),
        (bids.InvalidDataset("x"), 16),
        (errors.UnknownLevel("x"), 17),
        (bids.NothingMatched("x"), 18),
        (bids.NoInput("x"), 66),
        (errors.MissingWeights("x"), 66),
        (bids.CannotCreate("x"), 73),
        (OSError("x"), 74),
        (TimeoutError("x"), 75),
        (bids.MissingScan("x"), 1),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int) -> None:
    def fail(plan: Plan) -> int:
        raise error

    monkeypatch.setattr(runner, "run_participants", fail)
    assert main(["B", "O", "participant"]) == code
    assert capsys.readouterr().err == "coactseg: x\n"


def test_no_class_hides_a_later_one() -> None:
    kinds = [kind for kind, _ in EXIT_CODES]
    assert not [(a, b) for i, a in enumerate(kinds) for b in kinds[i + 1 :] if issubclass(b, a)]


def test_an_error_that_nobody_expected_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(plan: Plan) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(runner, "run_participants", fail)
    with pytest.raises(ZeroDivisionError):
        main(["B", "O", "participant"])


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["prep", "--help"], ["segment", "-h"], ["train", "--help"], ["evaluate", "--help"]])
def test_help_says_research_use_only(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    assert "Research use only" in " ".join(capsys.readouterr().out.split())


def test_help_of_segment_names_every_panel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "--help"]) == 0
    out = capsys.readouterr().out
    for panel in ("Participants and scans", "Preparation", "Lesion maps", "Computing", "Running"):
        assert panel in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "coactseg 0.1.0\n"


# ---- train and evaluate

TRAIN_OPTIONS: list[tuple[str, str, Any]] = [
    ("--iterations 7", "iterations", 7),
    ("--patch-size 32", "patch_size", (32, 32, 32)),
    ("--pairs-per-batch 3", "pairs_per_batch", 3),
    ("--singles-per-batch 0", "singles_per_batch", 0),
    ("--synthetic-share 0.25", "synthetic_share", 0.25),
    ("--transplant-share 0.5", "transplant_share", 0.5),
    ("--lesion-shapes {tmp}", "lesion_shapes", "{tmp}"),
    ("--no-null-new-on-singles", "null_new_on_singles", False),
    ("--learning-rate 0.5", "learning_rate", 0.5),
    ("--schedule constant", "schedule", "constant"),
    ("--cross-entropy-weight 0.5", "cross_entropy_weight", 0.5),
    ("--new-weight 0.5", "new_weight", 0.5),
    ("--relation-weight 0", "relation_weight", 0.0),
    ("--relation-from 3", "relation_from", 3),
    ("--base-filters 4", "base_filters", 4),
    ("--dropout 0.1", "dropout", 0.1),
    ("--lesion-share 0.5", "lesion_share", 0.5),
    ("--max-shift 2", "max_shift", 2),
    ("--augment-strength 0", "augment_strength", 0.0),
    ("--seed 3", "seed", 3),
    ("--clip-norm 1", "clip_norm", 1.0),
    ("--name x", "name", "x"),
    ("--checkpoint-every 3", "checkpoint_every", 3),
    ("--resume", "resume", True),
    ("--exclude sub-01 02", "exclude", ("01", "02")),
    ("--precision bf16", "precision", Precision.BF16),
    ("--device cpu", "device", "cpu"),
    ("--nprocs 3", "threads", 3),
    ("--fold 2/5", "fold", (2, 5)),
    ("--validation sub-01 02", "validation", ("01", "02")),
    ("--validation-prepared {tmp}", "validation_prepared", ("{tmp}",)),
    ("--derive-new", "derive_new", True),
    ("--cache-dir {tmp}", "cache_dir", "{tmp}"),
    ("--ema-decay 0.5", "ema_decay", 0.5),
    ("--init default", "init", "default"),
    ("--validate-every 3", "validate_every", 3),
    ("--force", "force", True),
    ("--preview", "preview", True),
    ("--compile", "compile", True),
    ("--reproducible", "reproducible", True),
    ("--workers 3", "workers", 3),
]


class Stage:
    """Stands for a stage's module: keeps the configuration that it was called with."""

    def __init__(self) -> None:
        self.configs: list[Any] = []

    def train(self, config: TrainConfig, log: object) -> Path:
        self.configs.append(config)
        return Path("model.safetensors")

    def evaluate(self, config: EvaluateConfig, log: object) -> Any:
        self.configs.append(config)
        return type("Result", (), {"scores": (), "failures": ("one",), "missing": (), "exit_code": 1})()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    fake = Stage()
    monkeypatch.setitem(sys.modules, "coactseg_cli.train", fake)
    monkeypatch.setitem(sys.modules, "coactseg_cli.evaluate", fake)
    return fake


@pytest.mark.parametrize(("words", "field", "value"), TRAIN_OPTIONS)
def test_a_training_option_reaches_its_field(stage: Stage, tmp_path: Path, words: str, field: str, value: Any) -> None:
    assert main(["train", str(tmp_path), str(tmp_path), "O", *words.replace("{tmp}", str(tmp_path)).split()]) == 0
    config = stage.configs[0]
    assert config.prepared == (tmp_path, tmp_path)
    assert config.out_dir == Path("O")
    assert getattr(config, field) == {"{tmp}": tmp_path, ("{tmp}",): (tmp_path,)}.get(value, value)
    assert getattr(TrainConfig(prepared=(), out_dir=Path()), field) != getattr(config, field)


def test_every_training_field_has_an_option() -> None:
    assert {item.name for item in fields(TrainConfig)} - {field for _, field, _ in TRAIN_OPTIONS} == {"prepared", "out_dir"}


def test_the_papers_recipe_yields_to_what_is_chosen(stage: Stage, tmp_path: Path) -> None:
    assert main(["train", str(tmp_path), "O", "--preset", "paper", "--iterations", "12"]) == 0
    config = stage.configs[0]
    assert (config.iterations, config.patch_size, config.learning_rate) == (12, (80, 80, 80), 1e-2)
    assert (config.pairs_per_batch, config.singles_per_batch, config.relation_start) == (4, 4, 6)
    assert (config.cross_entropy_weight, config.synthetic_share, config.dropout, config.ema_decay) == (0.0, 0.0, 0.5, 0.0)


def test_the_papers_second_stage_begins_at_10000(stage: Stage, tmp_path: Path) -> None:
    assert main(["train", str(tmp_path), "O", "--preset", "paper"]) == 0
    assert (stage.configs[0].iterations, stage.configs[0].relation_start, stage.configs[0].seed) == (20_000, 10_000, 1337)


@pytest.mark.parametrize(
    ("name", "pairs", "singles", "weight", "start"),
    [
        ("pairs", 8, 0, 0.0, None),
        ("singles", 0, 8, 0.0, None),
        ("both", 4, 4, 0.0, None),
        ("pairs-relation", 8, 0, 1.0, 0),
        ("singles-relation", 0, 8, 1.0, 0),
        ("both-relation", 4, 4, 1.0, 0),
        ("staged", 4, 4, 1.0, 10_000),
    ],
)
def test_each_row_of_table_3_is_one_flag(
    stage: Stage, tmp_path: Path, name: str, pairs: int, singles: int, weight: float, start: int | None
) -> None:
    assert main(["train", str(tmp_path), "O", "--preset", "paper", "--ablation", name]) == 0
    config = stage.configs[0]
    assert (config.pairs_per_batch, config.singles_per_batch, config.relation_weight) == (pairs, singles, weight)
    assert start is None or config.relation_start == start


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--fold 3", "--fold takes K/N"),
        ("--fold 0/3", "--fold takes K/N"),
        ("--fold 4/3", "--fold takes K/N"),
        ("--fold 1/1", "--fold takes K/N"),
        ("--fold 1/2 --validation 01", "--fold chooses the participants"),
        ("--validation 01 --exclude sub-01", "sub-01 is named by --validation and by --exclude"),
        ("--patch-size 20", "--patch-size must be multiples of 16"),
        ("--pairs-per-batch 0 --singles-per-batch 0", "nothing to learn from"),
        ("--reproducible --precision bf16", "--reproducible means fp32"),
    ],
)
def test_training_choices_that_do_not_go_together(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    assert main(["train", str(tmp_path), "O", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_the_processes_of_one_machine_share_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert [values.cpus_of_this_process(n) for n in (8, 2)] == [2, 1]
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert values.cpus_of_this_process(8) == 8


TMP = Path("{tmp}")
EVALUATE_OPTIONS: list[tuple[str, str, Any]] = [
    ("--kind new", "kind", LabelKind.NEW),
    ("--convention anima", "convention", "anima"),
    ("--connectivity 26", "connectivity", 26),
    ("--min-lesion-mm3 5", "min_lesion_mm3", 5.0),
    ("--min-lesion-voxels 11", "min_lesion_voxels", 11),
    ("--threshold 0.5", "threshold", 0.5),
    ("--participant-label sub-01 02", "participant_labels", ("01", "02")),
    ("--method a={tmp} --method b={tmp}", "methods", {"a": TMP, "b": TMP}),
    ("--method a={tmp} b={tmp}", "methods", {"a": TMP, "b": TMP}),
    ("--rater r1={tmp}", "raters", {"r1": TMP}),
    ("--predicted-pattern {subject}/x=1.nii", "predicted_pattern", {"": "{subject}/x=1.nii"}),
    ("--predicted-pattern P={case}.nii", "predicted_pattern", {"P": "{case}.nii"}),
    ("--reference-pattern {case}.nii", "reference_pattern", "{case}.nii"),
    ("--predicted-filter desc=lst --predicted-filter label=", "predicted_filter", {"desc": "lst", "label": ""}),
    ("--reference-filter desc=desc-x", "reference_filter", {"desc": "x"}),
    ("--predicted-values 99,3", "predicted_values", (99, 3)),
    ("--reference-values 1", "reference_values", (1,)),
    ("--missing empty", "missing", Missing.EMPTY),
    ("--resample", "resample", True),
    ("--probabilities {tmp}", "probabilities", {"": TMP}),
    ("--probability-pattern {case}_p.nii", "probability_pattern", "{case}_p.nii"),
    ("--no-curves", "curves", False),
    ("--site-column scanner", "site_column", "scanner"),
    ("--participants {tmp}", "participants", TMP),
    ("--background {tmp}", "background", TMP),
    ("--no-report", "report", False),
    ("--nprocs 3", "nprocs", 3),
]


@pytest.mark.parametrize(("words", "field", "value"), EVALUATE_OPTIONS)
def test_an_evaluation_option_reaches_its_field(stage: Stage, tmp_path: Path, words: str, field: str, value: Any) -> None:
    given = [word.replace("{tmp}", str(tmp_path)) for word in words.split()]
    if field != "nprocs":
        given += ["--nprocs", "1"]
    assert main(["evaluate", "P", "R", "O", *given]) == 1  # Stage.evaluate has a failure
    value = (
        tmp_path
        if value == TMP
        else {name: tmp_path if item == TMP else item for name, item in value.items()}
        if isinstance(value, dict)
        else value
    )
    plain = EvaluateConfig(predicted=Path("P"), reference=Path("R"), out_dir=Path("O"))
    assert stage.configs[0] == replace(plain, **{field: value})
    assert getattr(plain, field) != value


def test_every_evaluation_field_has_an_option() -> None:
    reached = {field for _, field, _ in EVALUATE_OPTIONS} | {"predicted", "reference", "out_dir"}
    assert {item.name for item in fields(EvaluateConfig)} == reached


def test_a_dash_is_no_place(stage: Stage, tmp_path: Path) -> None:
    main(["evaluate", "-", "R", "O", "--method", f"a={tmp_path}"])
    main(["evaluate", "pairs.tsv", "-", "O"])
    assert [(config.predicted, config.reference) for config in stage.configs] == [(None, Path("R")), (Path("pairs.tsv"), None)]


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ("--method nnunet", "--method takes NAME=DIR", 2),
        ("--method =x", "--method takes NAME=DIR", 2),
        ("--method a={tmp} --method a={tmp}", "'a' twice", 2),
        ("--method a=/nowhere", "--method a: /nowhere does not exist", 66),
        ("--predicted-pattern a --predicted-pattern b", "twice", 2),
        ("--predicted-filter lst", "--predicted-filter takes KEY=VALUE", 2),
        ("--predicted-values 1,x", "whole numbers from 1 on", 2),
        ("--reference-values 0", "whole numbers from 1 on", 2),
        ("--background /nowhere", "--background: /nowhere does not exist", 66),
        ("--participants /nowhere", "--participants: /nowhere does not exist", 66),
        ("--missing drop", "drop", 2),
    ],
)
def test_evaluation_options_that_cannot_be(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str, code: int
) -> None:
    assert main(["evaluate", "P", "R", "O", *(word.replace("{tmp}", str(tmp_path)) for word in words.split())]) == code
    assert message in capsys.readouterr().err
    assert stage.configs == []


# ---- start-up

HEAVY = {"torch", "ants", "bids", "matplotlib", "HD_BET", "SimpleITK", "monai", "nibabel", "numpy"}


def modules_after(code: str) -> set[str]:
    text = f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_help_loads_no_heavy_library() -> None:
    code = "from coactseg_cli.__main__ import main\nassert main(['--help']) == 0\nassert main(['segment', '--help']) == 0"
    assert not modules_after(code) & HEAVY


def test_the_test_above_can_fail() -> None:
    assert modules_after("import numpy") & HEAVY == {"numpy"}


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "coactseg_cli", "--version"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "coactseg 0.1.0\n"


def test_a_user_without_a_home_is_given_one(monkeypatch):
    from coactseg_cli import __main__ as program

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(program.Path, "home", homeless)
    monkeypatch.delenv("HOME", raising=False)
    assert program.main(["--version"]) == 0
    assert program.os.environ["HOME"]
