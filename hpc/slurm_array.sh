#!/usr/bin/env bash
#SBATCH --job-name=coactseg
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=coactseg-%A_%a.log
# One array task per participant, in Apptainer. slurm_submit.sh counts, submits this and the level 'group' after it; by hand, from where
# coactseg.sif lies:
#
#   n=$(hpc/slurm_array.sh --count BIDS)
#   sbatch --array=1-"$n"%20 hpc/slurm_array.sh BIDS OUT [coactseg options]
#   sbatch --dependency=afterany:JOBID hpc/slurm_array.sh --group BIDS OUT
#
# A failed participant gives a failed task (exit code 1); submitting again redoes only what is not complete. A task that is preempted ends
# cleanly (exit code 75) and goes back into the queue; one whose time is over does not: it would not fit the next time either.
#
#   COACTSEG_IMAGE          the image (coactseg.sif)
#   APPTAINER               the program (apptainer)
#   COACTSEG_PARTICIPANTS   file of labels, one a line: task N does line N (default: all participants of BIDS, in the order of their names)
#   COACTSEG_SKIP           so many lines come before the first task (0)
#   MAX_RESTARTS            give up after so many (100)
set -euo pipefail

die() {
    echo "slurm_array.sh: $*" >&2
    exit 2
}

# Labels of the participants, one a line, in the order of their names.
participants() {
    find -H "$1" -maxdepth 1 \( -type d -o -xtype d \) -name 'sub-*' -printf '%f\n' | sed -nE 's/^sub-([0-9A-Za-z+]+)$/\1/p' | LC_ALL=C sort -u
}

if [[ ${1:-} == --count || ${1:-} == --list ]]; then
    [[ -d ${2:-} ]] || die "usage: slurm_array.sh $1 BIDS"
    if [[ $1 == --list ]]; then participants "$2"; else participants "$2" | wc -l; fi
    exit 0
fi

level=participant
if [[ ${1:-} == --group ]]; then
    level=group
    shift
fi
[[ $# -ge 2 ]] || die "usage: sbatch --array=1-N slurm_array.sh BIDS OUT [coactseg options], or sbatch slurm_array.sh --group BIDS OUT"
bids=$(realpath -e "$1") || die "$1: no such folder"
mkdir -p "$2"
out=$(realpath -e "$2")
shift 2
for folder in "$bids" "$out"; do
    [[ $folder != *[:,]* ]] || die "$folder: Apptainer cannot mount a path with a colon or a comma. Link to it under another name."
done

which=()
if [[ $level == participant ]]; then
    task=$((${SLURM_ARRAY_TASK_ID:?is this an array job? submit with --array=1-N} + ${COACTSEG_SKIP:-0}))
    if [[ -n ${COACTSEG_PARTICIPANTS:-} ]]; then list=$(< "$COACTSEG_PARTICIPANTS"); else list=$(participants "$bids"); fi
    label=$(sed -n "${task}p" <<< "$list")
    [[ -n $label ]] || die "task $task: there are only $(grep -c . <<< "$list") participants"
    [[ $label =~ ^[0-9A-Za-z+]+$ ]] || die "task $task: '$label' is no label of a participant"
    which=(--participant-label "$label")
fi

work=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/coactseg.XXXXXX")
[[ $work != *[:,]* ]] || die "$work: Apptainer cannot mount a path with a colon or a comma. Set TMPDIR."
trap 'rm -rf "$work"' EXIT
cpus=${SLURM_CPUS_PER_TASK:-1}
nv=()
[[ -z ${SLURM_JOB_GPUS:-}${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-} ]] || nv=(--nv)

computing=()
[[ $level == group ]] || computing=(--nprocs "$cpus" --omp-nthreads "$cpus" --work-dir /scratch "$@")
"${APPTAINER:-apptainer}" run --cleanenv --containall "${nv[@]}" \
    --bind "$bids:/bids:ro" --bind "$out:/out" --bind "$work:/scratch" \
    "${COACTSEG_IMAGE:-coactseg.sif}" \
    segment /bids /out "$level" "${which[@]}" "${computing[@]}" &
run=$!

# SLURM's warning goes to this script alone, or to everything at once; either way the program ends cleanly upon SIGTERM.
told=
trap 'told=1; kill -TERM "$run" 2> /dev/null || true' USR1 TERM
while # a signal cuts wait short
    code=0
    wait "$run" || code=$?
    kill -0 "$run" 2> /dev/null
do :; done
last=0
wait "$run" || last=$?
[[ $last -eq 127 ]] || code=$last # it ended while wait was cut short; 127: bash has told its code already

[[ -n $told && $code -ne 0 ]] || exit "$code"
now=$(date +%s)
if ((${SLURM_JOB_END_TIME:-0} > 0 && SLURM_JOB_END_TIME - now < 300)); then
    echo "slurm_array.sh: the time is over (--time); not again: submit with more" >&2
    exit 1
fi
if [[ ${SLURM_RESTART_COUNT:-0} -ge ${MAX_RESTARTS:-100} ]]; then
    echo "slurm_array.sh: interrupted, and restarted ${SLURM_RESTART_COUNT} times already: not again" >&2
    exit 75
fi
state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T || true)
if [[ $state == RUNNING ]]; then
    echo "slurm_array.sh: interrupted; back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
else # cancelled: let it rest; or requeued by SLURM, which does the rest
    echo "slurm_array.sh: interrupted while SLURM ends the task itself ($state)" >&2
fi
exit 75
