#!/bin/sh
# Runs the tests of distributed training under srun with PMIx: one machine's Slurm of its own, begun and ended here. Needs root, and
# Debian's slurm-wlm, munge and openmpi-bin.
#   npm run build && sh test/parity/srun.sh
set -eu
dir=$(mktemp -d)
host=$(hostname)
mkdir -p /run/munge "$dir/state" "$dir/spool"
chown munge:munge /run/munge
runuser -u munge -- munged --force
cat > "$dir/slurm.conf" <<EOF
ClusterName=steploom
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
MpiDefault=none
ReturnToService=2
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
EOF
export SLURM_CONF="$dir/slurm.conf"
slurmctld
slurmd
trap 'kill $(cat "$dir/slurmd.pid" "$dir/slurmctld.pid"); pkill -u munge munged; sleep 1; rm -rf "$dir"' EXIT
sleep 3
export STEPLOOM_TEST_MPI='[{"name":"srun","path":"srun","flags":["--mpi=pmix","--overcommit","--kill-on-bad-exit=1"]}]'
npx vitest run test/plugins/distributed/distributed.test.ts -t "under srun"
