"""The injection benchmark: known new lesions in scans that the model never saw, and null pairs, beside the plain baselines.

    python -m benchmarks.accuracy measure PREPARED...
    python -m benchmarks.accuracy run PREPARED... --out DIR --model FILE=LABEL,LABEL [--model ...] [--pairs 56] [--only A]
    python -m benchmarks.accuracy preview PREPARED... --out FILE.png --subjects LABEL...

`measure` writes how bright real lesions are (results/contrast.tsv, which is in the repository: run it again after the labels change).
`run` writes a file per case; benchmarks/calibrate.py and benchmarks/model_card.py make thresholds and tables of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.accuracy.backgrounds import read_backgrounds
from benchmarks.accuracy.contrast import measure, read_ranges, write_ranges
from benchmarks.accuracy.evaluation import run
from benchmarks.accuracy.models import add_model_options, parse_models
from coactseg_cli.network.device import keep_large_allocations

RESULTS = Path(__file__).resolve().parents[1] / "results"
CONTRAST = RESULTS / "contrast.tsv"
PAIRS = 56  # with lesions, and as many null pairs


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="contrast of the labelled lesions, by size")
    measuring.add_argument("prepared", nargs="+", type=Path)
    running = commands.add_parser("run", help="pairs through the network and the baselines")
    add_model_options(running)
    running.add_argument("--pairs", type=int, default=PAIRS, help="pairs with lesions, and as many null pairs, over all models")
    running.add_argument("--only", metavar="A", help="only the cases of this model (A, B, ... as given): one process for each")
    showing = commands.add_parser("preview", help="a picture of made pairs")
    showing.add_argument("prepared", nargs="+", type=Path)
    showing.add_argument("--out", type=Path, required=True)
    showing.add_argument("--subjects", nargs="+", required=True)
    args = parser.parse_args(words)
    if args.command == "measure":
        write_ranges(CONTRAST, measure(args.prepared))
        print(CONTRAST.read_text(encoding="utf-8"), end="")
    elif args.command == "run":
        keep_large_allocations()
        run(
            parse_models(args.model), args.prepared, read_ranges(CONTRAST), args.pairs, args.out,
            only=args.only, threads=args.threads, trained_on_too=args.trained_on_too,
        )  # fmt: skip
    else:
        from benchmarks.accuracy.preview import write_preview

        write_preview(args.out, read_backgrounds(args.prepared, args.subjects), read_ranges(CONTRAST))


if __name__ == "__main__":
    main()
