#!/usr/bin/env bash
# Submit a cohort to SLURM, in Apptainer: one array task per participant that is left, then the level 'group' after all. From a login node:
#
#   hpc/slurm_submit.sh [options of sbatch --] BIDS OUT [options of coactseg segment]
#   hpc/slurm_submit.sh --partition=long --mem=16G -- BIDS OUT --skull-strip hd-bet
#
# Prints the numbers of the jobs. Logs, one per task, and the list of participants go to OUT/logs/slurm. The same command again submits what
# is not complete. Nothing needs to be installed but SLURM, and Apptainer where the tasks run.
#
#   AT_ONCE           tasks at once (20)
#   COACTSEG_IMAGE    the image (coactseg.sif);  APPTAINER: the program (apptainer)
#   WHO               who is submitted (default: those of BIDS that OUT/logs/complete does not have)
#                     program: asks the program in the image (--dry-run --json, here), which also sees changed scans and options
#                     all: everyone; a task whose participant is complete ends at once
#                     FILE: labels, one a line
set -euo pipefail

die() {
    echo "slurm_submit.sh: $*" >&2
    exit 2
}

slurm=()
words=("$@")
for i in "${!words[@]}"; do
    if [[ ${words[i]} == -- ]]; then
        slurm=("${words[@]:0:i}")
        set -- "${words[@]:i+1}"
        break
    fi
done
[[ $# -ge 2 ]] || die "usage: slurm_submit.sh [options of sbatch --] BIDS OUT [options of coactseg segment]"
array=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/slurm_array.sh
bids=$(realpath -e "$1") || die "$1: no such folder"
mkdir -p "$2"
out=$(realpath -e "$2")
shift 2
[[ $out != *[%\\]* && $out != *$'\n'* ]] || die "$out: SLURM reads % and \\ in the name of a log as its own. Rename the folder."
[[ ${AT_ONCE:=20} =~ ^[1-9][0-9]*$ ]] || die "AT_ONCE must be a whole number from 1 on; got '$AT_ONCE'"
export COACTSEG_IMAGE=${COACTSEG_IMAGE:-coactseg.sif}
[[ -e $COACTSEG_IMAGE || $COACTSEG_IMAGE == *://* ]] || die "$COACTSEG_IMAGE: no such image. Name it with COACTSEG_IMAGE=."

logs=$out/logs/slurm/$(date +%Y%m%d-%H%M%S)-$$
mkdir -p "$logs"
list=$logs/participants.txt
case ${WHO:-} in
    '') "$array" --list "$bids" | while IFS= read -r label; do
        [[ -e $out/logs/complete/sub-$label.json ]] || echo "$label"
    done > "$list" ;;
    program)
        "${APPTAINER:-apptainer}" run --cleanenv --containall --bind "$bids:/bids:ro" --bind "$out:/out" "$COACTSEG_IMAGE" \
            segment /bids /out participant --dry-run --json "$@" > "$logs/dry-run.json" || die "the program in the image made no list"
        tr -d '\n' < "$logs/dry-run.json" | { grep -oE '"participant": *"sub-[0-9A-Za-z+]+", *"state": *"(to_do|changed)"' || true; } |
            sed -E 's/^"participant": *"sub-([^"]+)".*/\1/' > "$list"
        ;;
    all) "$array" --list "$bids" > "$list" ;;
    *) sed -E 's/^sub-//; /^[[:space:]]*$/d' "$WHO" > "$list" ;;
esac
n=$(wc -l < "$list")
export COACTSEG_PARTICIPANTS=$list

submit() { # OPTIONS OF SBATCH... -- WORDS OF slurm_array.sh...
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    local job
    job=$(sbatch --parsable "${slurm[@]}" "${options[@]}" "$array" "$@")
    echo "${job%%;*}" # the name of the cluster may follow
}

# An array has at most MaxArraySize - 1 tasks from 1 on; what is more follows in arrays that begin after the one before.
longest=$(($(scontrol show config | sed -nE 's/^MaxArraySize *= *([0-9]+).*/\1/p' || echo 1001) - 1))
((longest > 0)) || longest=1000
after=()
for ((skip = 0; skip < n; skip += longest)); do
    size=$((n - skip < longest ? n - skip : longest))
    COACTSEG_SKIP=$skip
    export COACTSEG_SKIP
    job=$(submit --array="1-$size%$AT_ONCE" --output="$logs/%A_%a.log" "${after[@]}" -- "$bids" "$out" "$@")
    after=(--dependency="afterany:$job")
    echo "participants: job $job, $size tasks, $AT_ONCE at once; logs in $logs"
done
((n > 0)) || echo "participants: none is left (WHO=all submits everyone)"
job=$(submit --output="$logs/%j-group.log" "${after[@]}" -- --group "$bids" "$out")
echo "group: job $job, after all"
