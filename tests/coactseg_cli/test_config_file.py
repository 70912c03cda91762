"""Options as TOML: the command line wins, an unknown key is named, and what a run writes can be read again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bids_app.cases import LabelKind
from bids_app.errors import NoInput
from coactseg_cli import config_file
from coactseg_cli.config import DatasetConfig, PrepConfig, RunConfig, SegmentConfig
from coactseg_cli.errors import InvalidConfig


class Param:
    """What of a Typer parameter is looked at."""

    def __init__(self, name: str, *opts: str, is_flag: bool = False, multiple: bool = False) -> None:
        self.name, self.opts, self.is_flag, self.multiple = name, list(opts), is_flag, multiple
        self.param_type_name = "option" if opts else "argument"


PARAMS = [
    Param("bids_dir"),
    Param("spacing", "--spacing"),
    Param("n4", "--n4", is_flag=True),
    Param("derivatives", "-d", "--derivatives", multiple=True),
    Param("participant_label", "--participant-label", multiple=True),
    Param("output_probabilities", "--output-probabilities"),
    Param("_config_file", "--config-file"),
]


def load(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "options.toml"
    path.write_text(text)
    return config_file.defaults(path, PARAMS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("spacing = 1", {"spacing": "1"}),
        ("spacing = 'native'", {"spacing": "native"}),
        ("spacing = [0.5, 0.75, 0.75]", {"spacing": "0.5,0.75,0.75"}),
        ("n4 = false", {"n4": False}),
        ("participant_label = ['01', '02']", {"participant_label": ["01", "02"]}),
        ("participant-label = '01'", {"participant_label": ["01"]}),
        ("[derivatives]\nprep = '/p'\nlabels = '/l'", {"derivatives": ["prep=/p", "labels=/l"]}),
        ("output-probabilities = false", {"output_probabilities": "no"}),
        ("", {}),
    ],
)
def test_values_become_what_the_command_line_gives(tmp_path: Path, text: str, wanted: dict[str, object]) -> None:
    assert load(tmp_path, text) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spacin = 1", ["unknown key 'spacin'", "did you mean 'spacing'"]),
        ("bids_dir = '/x'", ["unknown key 'bids_dir'"]),
        ("config-file = 'x'", ["unknown key 'config-file'"]),
        ("n4 = 'maybe'", ["'n4'", "true or false"]),
        ("spacing = ", ["is not TOML"]),
        ("[spacing]\nx = 1", ["'spacing'", "one value"]),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(InvalidConfig) as error:
        load(tmp_path, text)
    for word in [*words, "options.toml"]:
        assert word in str(error.value)


def test_a_missing_file_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"nowhere\.toml does not exist"):
        config_file.defaults(tmp_path / "nowhere.toml", PARAMS)


def test_what_is_written_is_toml_with_the_options_own_names() -> None:
    dataset = DatasetConfig(bids_dir=Path("/b"), out_dir=Path("/o"), participant_labels=("01",), derivatives={'a"b': Path("/d e")})
    prep = PrepConfig(spacing_mm=None, preregistered=True, label_desc={"x": LabelKind.IGNORE_NEW}, omp_threads=2)
    text = config_file.dumps(
        config_file.settings(dataset, prep, SegmentConfig(output_probabilities=False), RunConfig(force=True)), ["a\nb"]
    )
    assert text.startswith("# a\n# b\n")
    table = tomllib.loads(text)
    assert table["participant-label"] == ["01"]
    assert table["derivatives"] == {'a"b': "/d e"}
    assert table["spacing"] == "native"
    assert table["label-desc"] == {"x": "ignore-new"}
    assert table["omp-nthreads"] == 1  # RunConfig's, which comes last
    assert table["output-probabilities"] == "no"
    assert table["stride"] == [20, 20, 20]
    assert not {"bids-dir", "out-dir", "force", "threads", "tile", "threshold-all", "verbose"} & set(table)
