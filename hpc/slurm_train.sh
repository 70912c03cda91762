#!/usr/bin/env bash
#SBATCH --job-name=coactseg-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --output=coactseg-train-%j.log
# Training on one or several nodes, one task per GPU, that goes on after the time limit or a preemption:
#
#   sbatch --gpus-per-node=1 hpc/slurm_train.sh PREPARED... OUT [options of coactseg train]
#   sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 hpc/slurm_train.sh PREPARED... OUT [options]
#
# Two minutes before the end SLURM signals the tasks (USR1): training writes OUT/checkpoint.pt and ends with the exit code 75, upon which the
# job is put into the queue again and goes on with --resume. Any other failure ends the job, and so does scancel.
#
#   COACTSEG_IMAGE   run in this Apptainer image; else the installed program (COACTSEG, default coactseg) is called
#   MAX_RESTARTS     give up after so many (100)
#
# The tasks find each other through MASTER_ADDR, MASTER_PORT, RANK, LOCAL_RANK and WORLD_SIZE, as torchrun would set them. torchrun itself
# is left out: it answers 75 with 1 and dies of USR1 without a word to its processes, so that nobody would know when to go on.
set -euo pipefail

die() {
    echo "slurm_train.sh: $*" >&2
    exit 2
}

arguments=()
for word in "$@"; do
    [[ $word != -* ]] || break
    arguments+=("$word")
done
[[ ${#arguments[@]} -ge 2 ]] || die "usage: sbatch slurm_train.sh PREPARED... OUT [options of coactseg train]"
out=${arguments[-1]}
[[ -n ${SLURM_JOB_ID:-} ]] || die "is this a job? submit it with sbatch"
mkdir -p "$out"
for folder in "${arguments[@]}"; do [[ -d $folder ]] || die "$folder: no such folder"; done

program=("${COACTSEG:-coactseg}")
if [[ -n ${COACTSEG_IMAGE:-} ]]; then
    program=("${APPTAINER:-apptainer}" run)
    [[ -z ${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-} ]] || program+=(--nv)
    for folder in "${arguments[@]}"; do program+=(--bind "$(realpath "$folder"):$(realpath -s "$folder")"); done
    program+=("$COACTSEG_IMAGE")
fi
resume=()
[[ ! -f $out/checkpoint.pt ]] || resume=(--resume)

nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST:?is this a job? submit it with sbatch}")
export MASTER_ADDR=${nodes%%$'\n'*}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# shellcheck disable=SC2016 # each task expands its own numbers
srun --kill-on-bad-exit=0 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    exec "$@"' task "${program[@]}" train --nprocs "$OMP_NUM_THREADS" "$@" "${resume[@]}" &
tasks=$!

# Where only this script is signalled, the tasks have to hear of it; srun passes it on.
trap 'kill -USR1 "$tasks" 2> /dev/null || true' USR1 TERM
while # a signal cuts wait short
    code=0
    wait "$tasks" || code=$?
    kill -0 "$tasks" 2> /dev/null
do :; done
last=0
wait "$tasks" || last=$?
[[ $last -eq 127 ]] || code=$last # it ended while wait was cut short; 127: bash has told its code already

[[ $code -eq 75 ]] || exit "$code"
if [[ ${SLURM_RESTART_COUNT:-0} -ge ${MAX_RESTARTS:-100} ]]; then
    echo "slurm_train.sh: interrupted, and restarted ${SLURM_RESTART_COUNT} times already: not again. Submit it by hand to go on." >&2
    exit 75
fi
state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T)
if [[ $state != RUNNING ]]; then # cancelled: let it rest; or requeued by SLURM, which does the rest
    echo "slurm_train.sh: interrupted while SLURM ends the job itself ($state); training goes on when it is submitted or requeued" >&2
    exit 75
fi
echo "slurm_train.sh: interrupted; back into the queue"
scontrol requeue "$SLURM_JOB_ID"
