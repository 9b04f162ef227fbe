#!/bin/bash
#SBATCH --job-name=emergence-@STUDY_NAME@
#SBATCH --nodes=@NODES@
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=@CPUS@
#SBATCH --time=@TIME@
#SBATCH --signal=B:INT@@WARNING@
#SBATCH --requeue
#SBATCH --open-mode=append
@OPTIONS@
# Made by `emergence slurm`. Submit it with `sbatch`; it may be submitted again at any time: finished cells are kept.
# Before the time limit the run is interrupted and the job put back into the queue, where it goes on.
set -euo pipefail
set -m # otherwise bash starts commands in the background with SIGINT ignored, and the interruption does nothing

export PATH=@BIN@:"$PATH"
study=@STUDY@ data=@DATA@
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n') # others on these machines may not run code as you

# SQLite loses events on a network file system. What a new event log lacks is recorded again from the results.
case $(stat -f -c %T "$data" 2>/dev/null || echo new) in
nfs | lustre | gpfs | ceph | fuseblk | fuse | smb* | cifs | beegfs | panfs | UNKNOWN*)
    export DAGSTER_HOME=${DAGSTER_HOME:-/tmp/emergence-$(id -un)/@STUDY_NAME@}
    mkdir -p "$DAGSTER_HOME"
    ;;
esac

head=$SLURMD_NODENAME
address=$(scontrol -o show node "$head" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
port=$((20000 + SLURM_JOB_ID % 20000))
step() { srun --overlap --ntasks-per-node=1 --cpus-per-task=@CPUS@ @STEP_OPTIONS@ "$@"; }
common=(--object-store-memory=200000000 --disable-usage-stats --num-cpus=@CPUS@ --block)

# Sockets have short names: not below a home folder.
step --nodes=1 --ntasks=1 --nodelist="$head" ray start --head --port="$port" --node-ip-address="$address" \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false "${common[@]}" >/dev/null &
for _ in $(seq 120); do
    if (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; then break; fi
    sleep 1
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    step --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$address:$port" "${common[@]}" >/dev/null &
fi

interrupted=
trap 'interrupted=yes; kill -INT "$driver" 2>/dev/null || true' INT
emergence --study "$study" --data "$data" --seed @SEED@ run --on "ray:$address:$port" &
driver=$!
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do # the first wait ends with the signal
    code=0
    wait "$driver" || code=$?
done
trap - INT
kill $(jobs -p) 2>/dev/null || true
rm -rf "/tmp/ray-$SLURM_JOB_ID"
if [ -n "$interrupted" ] && [ "$code" -eq 130 ]; then
    echo "the time limit is near: job $SLURM_JOB_ID goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
