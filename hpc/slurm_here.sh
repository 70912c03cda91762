#!/usr/bin/env bash
# A real SLURM on this machine alone, for tests: one controller, one node, no accounting, everything in one folder.
#
#   slurm_here.sh FOLDER COMMAND...     start munged, slurmctld and slurmd, run the command in that cluster, stop the daemons
#
# A job that goes back into the queue rests for cred_expire seconds: 15 here, 120 by default.
# Needs root and Debian's slurm-wlm and munge (75: a daemon does not start; 77: they are not installed, or this is not root). Leaves every
# configuration of the machine alone. The command sees SLURM_CONF; its exit code is handed on.
set -euo pipefail

[[ $# -ge 2 ]] || {
    echo "usage: slurm_here.sh FOLDER COMMAND..." >&2
    exit 2
}
skip() {
    echo "slurm_here.sh: skipped: $*" >&2
    exit 77
}

export PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch srun squeue scontrol scancel; do
    command -v "$program" > /dev/null || skip "$program is not installed (apt-get install slurm-wlm munge)"
done
[[ $(id -u) -eq 0 ]] || skip "slurmd starts jobs as their users, which only root may do"

mkdir -p "$1"
place=$(realpath -e "$1")
shift
node=$(hostname -s)
cpus=${SLURM_HERE_CPUS:-2}
mkdir -p "$place"/{state,spool,munge}
chmod 700 "$place/munge"
head -c 128 /dev/urandom > "$place/munge/key"
chmod 400 "$place/munge/key"

# Ports that nobody listens on, so that two such clusters do not meet.
read -r control daemon < <(python3 - << 'PORTS'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PORTS
)

cat > "$place/slurm.conf" << CONF
ClusterName=here
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$control
SlurmdPort=$daemon
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge/socket,cred_expire=15
CredType=cred/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=${SLURM_HERE_MIN_JOB_AGE:-300}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=${SLURM_HERE_MB:-6000} State=UNKNOWN
PartitionName=normal Nodes=$node Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=0
PartitionName=urgent Nodes=$node MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF
: > "$place/cgroup.conf"
export SLURM_CONF=$place/slurm.conf
unset "${!SLURM_JOB@}" "${!SLURM_ARRAY@}" "${!SBATCH_@}"

daemons=()
work=
# shellcheck disable=SC2317 # the trap calls it
stop() {
    [[ -z $work ]] || kill "$work" 2> /dev/null || true
    squeue --noheader --format=%A 2> /dev/null | sort -u | xargs --no-run-if-empty timeout 10 scancel --full 2> /dev/null || true
    for _ in $(seq 50); do
        [[ -n $(squeue --noheader 2> /dev/null || true) ]] || break
        sleep 0.2
    done
    for pid in "${daemons[@]}"; do kill "$pid" 2> /dev/null || true; done
    for pid in "${daemons[@]}"; do wait "$pid" 2> /dev/null || true; done
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

start() { # NAME COMMAND... in the foreground of a process that we own
    local name=$1
    shift
    "$@" > "$place/$name.out" 2>&1 &
    daemons=("$!" "${daemons[@]}") # stopped in the opposite order
}
give_up() {
    echo "slurm_here.sh: $*" >&2
    tail -n 20 "$place"/*.out "$place"/*.log >&2 || true
    exit 75
}

start munged munged --foreground --force --key-file="$place/munge/key" --socket="$place/munge/socket" \
    --pid-file="$place/munge/pid" --seed-file="$place/munge/seed"
for _ in $(seq 100); do
    [[ ! -S $place/munge/socket ]] || break
    sleep 0.1
done
[[ -S $place/munge/socket ]] || give_up "munged does not start"
start slurmctld slurmctld -D -c -f "$SLURM_CONF"
start slurmd slurmd -D -N "$node" -f "$SLURM_CONF"
for _ in $(seq 300); do
    state=$(sinfo --noheader --nodes="$node" --partition=normal --format=%T 2> /dev/null || true)
    [[ $state != idle ]] || break
    sleep 0.2
done
[[ $state == idle ]] || give_up "the node is '$state', not idle"

"$@" < /dev/null &
work=$!
code=0
wait "$work" || code=$?
exit "$code"
