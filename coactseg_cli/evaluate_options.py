"""The options of `evaluate`, one type per option, and their texts -> the values that EvaluateConfig holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coactseg_cli.config import Missing
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.option_values import existing

MASKS = "Finding the masks"
READING = "Reading the masks"
RULES = "Definitions"
MORE = "Probability maps, sites, report"

NOTHING = Path("-")


class Kind(StrEnum):
    """What masks show."""

    ALL = "all"
    NEW = "new"


class Convention(StrEnum):
    """Definitions of the scores."""

    MM = "mm"
    ANIMA = "anima"
    COACTSEG = "coactseg"


# ---- arguments

Predicted = Annotated[
    Path,
    typer.Argument(
        help="Predicted masks: BIDS data set, folder, file, or a table of pairs (.tsv); '-' where --method names all.", show_default=False
    ),
]
Reference = Annotated[
    Path, typer.Argument(help="Reference masks: BIDS data set, folder or file; '-' beside a table of pairs.", show_default=False)
]
EvaluateOut = Annotated[Path, typer.Argument(help="Folder for the tables and the page.", show_default=False)]

# ---- finding the masks

KindName = Annotated[
    Kind | None,
    typer.Option("--kind", help="Masks to compare: all lesions or new ones. Default: what is found.", rich_help_panel=MASKS),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", metavar="NAME=DIR", help="Further predictions, compared with the others and with REFERENCE.", rich_help_panel=MASKS
    ),
]
Raters = Annotated[
    list[str] | None,
    typer.Option(
        "--rater",
        metavar="NAME=DIR",
        help="Masks of one of several raters, compared with REFERENCE, their consensus, and with each other.",
        rich_help_panel=MASKS,
    ),
]
PredictedPattern = Annotated[
    list[str] | None,
    typer.Option(
        "--predicted-pattern",
        metavar="[NAME=]PATH",
        help="Where the masks lie below PREDICTED (of one method: NAME=), such as '{subject}/{session}/lesions.nii.gz' or "
        "'{case}_seg.nii.gz'; *, ? and **/ match anything.",
        rich_help_panel=MASKS,
    ),
]
ReferencePattern = Annotated[
    str | None,
    typer.Option("--reference-pattern", metavar="PATH", help="The same for REFERENCE and the raters.", rich_help_panel=MASKS),
]
PredictedFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--predicted-filter",
        metavar="KEY=VALUE",
        help="BIDS entities of the masks, such as desc=lst, label=WMH, suffix=dseg; 'desc=' means none.",
        rich_help_panel=MASKS,
    ),
]
ReferenceFilter = Annotated[
    list[str] | None,
    typer.Option("--reference-filter", metavar="KEY=VALUE", help="The same for REFERENCE and the raters.", rich_help_panel=MASKS),
]

# ---- reading the masks

PredictedValues = Annotated[
    str | None,
    typer.Option(
        "--predicted-values", metavar="N,...", help="Labels that are lesion, such as 99. Default: all above 0.", rich_help_panel=READING
    ),
]
ReferenceValues = Annotated[
    str | None,
    typer.Option("--reference-values", metavar="N,...", help="The same for REFERENCE and the raters.", rich_help_panel=READING),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="P", help="Makes masks of probabilities: lesion from P on.", rich_help_panel=READING),
]
MissingName = Annotated[
    Missing,
    typer.Option(
        "--missing",
        help="A reference without a prediction is listed and in no mean (report), or scored as an empty mask (empty).",
        rich_help_panel=READING,
    ),
]
Resample = Annotated[
    bool,
    typer.Option(
        "--resample", help="Bring masks on another grid to the reference's, nearest neighbour. Default: refuse.", rich_help_panel=READING
    ),
]

# ---- definitions

ConventionName = Annotated[
    Convention,
    typer.Option(
        "--convention",
        help="Definitions. mm: millimetres; anima: as animaSegPerfAnalyzer; coactseg: as Wu et al. 2023.",
        rich_help_panel=RULES,
    ),
]
Connectivity = Annotated[
    int | None,
    typer.Option(
        "--connectivity",
        metavar="6|18|26",
        help="Neighbours that join voxels to a lesion. Default: the convention's.",
        rich_help_panel=RULES,
    ),
]
LimitMm3 = Annotated[
    float | None,
    typer.Option("--min-lesion-mm3", metavar="MM3", help="Lesions must be larger. Default: the convention's.", rich_help_panel=RULES),
]
LimitVoxels = Annotated[
    int | None,
    typer.Option(
        "--min-lesion-voxels", metavar="N", help="Lesions must have so many voxels. Default: the convention's.", rich_help_panel=RULES
    ),
]

# ---- probability maps, sites, report

Probabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--probabilities",
        metavar="[NAME=]DIR",
        help="Probability maps, found as masks are. Default: the probseg beside each mask.",
        rich_help_panel=MORE,
    ),
]
ProbabilityPattern = Annotated[
    str | None,
    typer.Option("--probability-pattern", metavar="PATH", help="Where the maps lie below --probabilities.", rich_help_panel=MORE),
]
Curves = Annotated[
    bool,
    typer.Option("--curves/--no-curves", help="FROC and threshold curves where there are probability maps.", rich_help_panel=MORE),
]
SiteColumn = Annotated[
    str | None,
    typer.Option(
        "--site-column", metavar="COLUMN", help="Column of participants.tsv by which scores are told apart.", rich_help_panel=MORE
    ),
]
Participants = Annotated[
    Path | None,
    typer.Option(
        "--participants", metavar="FILE", help="Table with that column. Default: REFERENCE's, else PREDICTED's.", rich_help_panel=MORE
    ),
]
Background = Annotated[
    Path | None,
    typer.Option("--background", metavar="DIR", help="Scans for the pictures. Default: the FLAIR beside each mask.", rich_help_panel=MORE),
]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write the page and its pictures.", rich_help_panel=MORE)]

# ---- texts -> values


def place(path: Path) -> Path | None:
    """'-' is no place."""
    return None if path == NOTHING else path


def named_places(values: Iterable[str] | None, option: str) -> dict[str, Path]:
    """['nnunet=/out/nnunet'] -> {'nnunet': Path('/out/nnunet')}.

    Raises: InvalidConfig without a name, or for one given twice; NoInput where nothing is there.
    """
    found: dict[str, Path] = {}
    for value in values or ():
        name, equals, path = value.partition("=")
        if not equals or not name.strip() or not path:
            msg = f"{option} takes NAME=DIR; got {value!r}"
            raise InvalidConfig(msg)
        _once(found, name.strip(), option)
        found[name.strip()] = existing(Path(path), f"{option} {name}")
    return found


def for_methods(values: Iterable[str] | None, methods: Sequence[str], option: str) -> dict[str, str]:
    """['a=x', 'y'] -> {'a': 'x', '': 'y'} where a method is named a; what has no method's name before '=' is for the others.

    Raises: InvalidConfig for a method named twice.
    """
    found: dict[str, str] = {}
    for value in values or ():
        name, equals, text = value.partition("=")
        name, text = (name, text) if equals and name in methods else ("", value)
        _once(found, name, option)
        found[name] = text
    return found


def entities(values: Iterable[str] | None, option: str) -> dict[str, str]:
    """['desc=lst', 'label='] -> {'desc': 'lst', 'label': ''}.

    Raises: InvalidConfig for other text and for a key given twice.
    """
    found: dict[str, str] = {}
    for value in values or ():
        key, equals, text = value.partition("=")
        if not equals or not key:
            msg = f"{option} takes KEY=VALUE, such as desc=lst; got {value!r}"
            raise InvalidConfig(msg)
        _once(found, key, option)
        found[key] = text.removeprefix(f"{key}-")
    return found


def labels(value: str | None, option: str) -> tuple[int, ...]:
    """'1,3' -> (1, 3); None -> ().

    Raises: InvalidConfig for what is no whole number from 1 on.
    """
    words = value.split(",") if value is not None else []
    numbers = tuple(int(word) for word in words if word.strip().isdecimal())
    if len(numbers) != len(words) or 0 in numbers:
        msg = f"{option} takes whole numbers from 1 on, comma between them; got {value!r}"
        raise InvalidConfig(msg)
    return numbers


def _once(found: dict[str, object] | dict[str, str] | dict[str, Path], name: str, option: str) -> None:
    if name in found:
        msg = f"{option} names {name or 'the same'!r} twice"
        raise InvalidConfig(msg)
