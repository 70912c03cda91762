#!/usr/bin/env bash
# The tests that need a real SLURM, in one that is started for them (slurm_here.sh) and stopped after them.
#
#   test_slurm.sh BIN [arguments of pytest]      BIN: folder with python, and what coactseg and its tests need
#
# 77: SLURM is not installed here, or this is not root.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(cd "${1:?usage: test_slurm.sh BIN [arguments]}" && pwd)
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$project"
export PYTHONPATH=$project COACTSEG_TEST_SLURM=1
hpc/slurm_here.sh "$tmp/slurm" "$bin/python" -m pytest tests/test_slurm.py -m slurm --basetemp="$tmp/tests" "$@"
