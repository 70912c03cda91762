"""`python -m coactseg_cli.convert`: words of the command line to a conversion and an exit code. Computes nothing."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bids_app.errors import BidsAppError, CannotCreate, InvalidDataset, NoInput
from coactseg_cli.convert import h5, msseg2
from coactseg_cli.convert.dataset import RESEARCH, About, Conversion, convert
from coactseg_cli.errors import InvalidConfig

EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidConfig, 2),
    (InvalidDataset, 16),
    (NoInput, 66),
    (CannotCreate, 73),
    (BidsAppError, 1),
    (OSError, 74),
)
PAPER = "Wu Y. et al.: CoactSeg: Learning from Heterogeneous Data for New Multiple Sclerosis Lesion Segmentation. MICCAI 2023"
MSSEG2 = About(
    name="MSSEG-2 (MICCAI 2021)",
    authors=("Commowick O.", "Cervenansky F.", "Cotton F.", "Dojat M."),
    references=(
        "https://portal.fli-iam.irisa.fr/msseg-2/",
        "https://github.com/Inria-Empenn/lesion-segmentation-challenge-miccai21",
        PAPER,
    ),
    license="n/a: the data usage agreement under which the data were obtained applies",
    readme="Two FLAIR scans per patient and masks of the new lesions, converted from the distribution of the MSSEG-2 challenge. Both "
    "visits and all masks of a patient lie on one grid, halfway between the visits: prepare with --preregistered. derivatives/labels "
    "holds the consensus, derivatives/labels-expertN each expert. The column split of participants.tsv is that of the published "
    "CoactSeg experiments.",
)
H5 = About(
    name="CoactSeg HDF5 files",
    authors=("n/a (the files name none)", "coactseg (software)"),
    references=("https://github.com/ycwu1997/CoactSeg", PAPER),
    license="n/a: the agreement under which the data were obtained applies",
    readme="Scans and lesion masks, converted from the HDF5 files of the published CoactSeg code. The scans are skull-stripped "
    "(derivatives/masks), cropped and scaled. The files store no affine: voxel sizes are the published ones, orientation is a "
    "convention, the place in the scanner is lost. Pairs lie on one grid: prepare with --preregistered. The column split of "
    "participants.tsv is that of the published experiments.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one conversion. Returns: the exit code."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # what was made aside is removed
    args = _parser().parse_args(argv)
    try:
        result = _run(args)
    except KeyboardInterrupt:
        print(f"coactseg convert: interrupted; {args.out} holds no data set", file=sys.stderr)
        return 130
    except (BidsAppError, OSError) as error:
        print(f"coactseg convert: {error}", file=sys.stderr)
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    print(f"{len(result.done)} participant(s) in {args.out}, {len(result.failures)} failed\n{RESEARCH}")
    return result.exit_code


def _run(args: argparse.Namespace) -> Conversion:
    if args.layout == "msseg2":
        options = msseg2.Msseg2Options(
            scans=args.scans, experts=args.experts, unlabelled=args.unlabelled, trust_array=args.ignore_label_geometry
        )
        return convert(msseg2.find(args.src), lambda source: msseg2.read(source, options), args.out, MSSEG2, _to_stderr)
    stored = h5.H5Options(pair_spacing_mm=args.pair_spacing, single_spacing_mm=args.single_spacing, orientation=args.orientation)
    h5.check(stored)
    return convert(h5.find(args.src), lambda source: h5.read(source, stored), args.out, H5, _to_stderr)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coactseg_cli.convert",
        description=f"Make a BIDS data set with lesion labels from data in another layout. {RESEARCH}",
        epilog="Exit codes: 0 done, 1 a patient failed (the others are there), 2 usage, 16 another layout, 66 no input, 73 cannot create, "
        "74 I/O error, 130 interrupted.",
    )
    layouts = parser.add_subparsers(dest="layout", required=True)
    _add_msseg2(layouts.add_parser("msseg2", help="the distribution of MSSEG-2: a folder per patient"))
    _add_h5(layouts.add_parser("h5", help="the HDF5 files of the published CoactSeg code (needs coactseg-cli[h5])"))
    return parser


def _add_msseg2(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", type=Path, metavar="SRC", help="folder with training/ or with 013, 015, ...")
    _add_out(parser)
    parser.add_argument(
        "--scans",
        type=msseg2.Scans,
        choices=list(msseg2.Scans),
        default=msseg2.Scans.MIDDLE,
        help="middle: flair_time0N_on_middle_space, as distributed and as labelled (default); "
        "raw: flair_time0N, where a copy has them: labels then have to lie on the follow-up's grid",
    )
    parser.add_argument(
        "--experts", type=_count, default=4, metavar="N", help="masks of single experts that each patient must have (default: 4)"
    )
    parser.add_argument("--unlabelled", action="store_true", help="take patients without any ground_truth file too")
    parser.add_argument(
        "--ignore-label-geometry", action="store_true", help="take the arrays of masks as on the scan's grid where their headers differ"
    )


def _add_h5(parser: argparse.ArgumentParser) -> None:
    default = h5.H5Options()
    parser.add_argument("src", type=Path, metavar="SRC", help="folder with .h5 files, in it or below")
    _add_out(parser)
    for what, value in (("pair", default.pair_spacing_mm), ("single", default.single_spacing_mm)):
        parser.add_argument(
            f"--{what}-spacing",
            type=_spacing,
            default=value,
            metavar="X,Y,Z",
            help=f"voxel size of {what}s in mm, which the files do not say (default: {','.join(map(str, value))})",
        )
    parser.add_argument(
        "--orientation", default=default.orientation, metavar="RAS", help="where x, y and z point, which the files do not say"
    )


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="absent or empty folder for the BIDS data set")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _spacing(text: str) -> h5.Triple:
    x, y, z = (float(part) for part in text.split(","))
    if not all(0.1 <= edge <= 10 for edge in (x, y, z)):
        raise ValueError(text)
    return x, y, z


if __name__ == "__main__":
    sys.exit(main())
