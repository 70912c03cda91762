#!/usr/bin/env bash
#SBATCH --job-name=coactseg
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=01:00:00
#SBATCH --output=coactseg-%A_%a.log
# One array task per participant, in Apptainer. Submit from where coactseg.sif lies:
#
#   n=$(hpc/slurm_array.sh --count BIDS)
#   sbatch --array=1-"$n"%20 hpc/slurm_array.sh BIDS OUT [coactseg options]
#   sbatch --dependency=afterany:JOBID --wrap "apptainer run -e -B BIDS:/bids:ro,OUT:/out coactseg.sif segment /bids /out group"
#
# A failed participant gives a failed task (exit code 1); submitting again redoes only what is not complete.
set -euo pipefail

die() {
    echo "slurm_array.sh: $*" >&2
    exit 2
}

# Labels of the participants, one a line, in the order of their names.
participants() {
    find "$1" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | LC_ALL=C sort | sed 's/^sub-//'
}

if [[ ${1:-} == --count ]]; then
    participants "${2:?usage: slurm_array.sh --count BIDS}" | wc -l
    exit 0
fi

[[ $# -ge 2 ]] || die "usage: sbatch --array=1-N slurm_array.sh BIDS OUT [coactseg options]"
bids=$(realpath -e "$1") || die "$1: no such folder"
mkdir -p "$2"
out=$(realpath -e "$2")
shift 2

task=${SLURM_ARRAY_TASK_ID:?is this an array job? submit with --array=1-N}
label=$(participants "$bids" | sed -n "${task}p")
[[ -n $label ]] || die "task $task: $bids has only $(participants "$bids" | wc -l) participants"

work=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/coactseg.XXXXXX")
trap 'rm -rf "$work"' EXIT
cpus=${SLURM_CPUS_PER_TASK:-1}

"${APPTAINER:-apptainer}" run --cleanenv --containall \
    --bind "$bids:/bids:ro" --bind "$out:/out" --bind "$work:/scratch" \
    "${COACTSEG_IMAGE:-coactseg.sif}" \
    segment /bids /out participant --participant-label "$label" \
    --nprocs "$cpus" --omp-nthreads "$cpus" --work-dir /scratch "$@"
