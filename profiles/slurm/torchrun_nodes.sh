#!/usr/bin/env bash
# torchrun on every machine of this SLURM job, with so many processes in all (docs/cluster.md):
#
#     bash profiles/slurm/torchrun_nodes.sh PROCESSES -m -- MODULE ARGUMENTS
#
# The executor's job step keeps only SLURM_JOB_ID of SLURM's variables: the rest is asked of SLURM.
set -euo pipefail
processes=$1
shift
hosts=$(scontrol show hostnames "$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %N)")
nodes=$(wc -l <<< "$hosts")
if ((processes % nodes)); then
    echo "error: $processes processes cannot be shared out evenly to $nodes machines" >&2
    exit 1
fi
exec srun --nodes "$nodes" --ntasks "$nodes" --ntasks-per-node 1 --cpus-per-task "$(nproc)" --gpus-per-node $((processes / nodes)) \
    torchrun --shutdown-timeout 600 --nnodes "$nodes" --nproc-per-node $((processes / nodes)) --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d --rdzv-endpoint "$(head -n 1 <<< "$hosts"):${MASTER_PORT:-29500}" "$@"
