#!/usr/bin/env bash
# Runs the program under Slurm, ranks started by srun: on one node, or on many with sbatch --nodes=N. From the tree's
# root, or with SHARDORA_LAUNCH naming the folder `launch`:
#
#   sbatch launch/slurm/srun.sh train --config run.cfg
#
# A run that is stopped (time limit, preemption, a lost peer or host) saves and goes into the queue again; what you
# cancel stays cancelled. Options of sbatch on the command line go before those here.
#SBATCH --job-name=shardora
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@120
# GPUs: one rank each, and each rank sees all of its node's (a second # less turns these on).
##SBATCH --gpus-per-node=8 --ntasks-per-node=8 --cpus-per-task=12
# Yours:
##SBATCH --account=… --partition=…
##SBATCH --mail-type=END,FAIL,REQUEUE --mail-user=…
set -euo pipefail
here=${SHARDORA_LAUNCH:-$SLURM_SUBMIT_DIR/launch}
# shellcheck source=launch/common/supervise.sh
source "$here/common/supervise.sh"
# shellcheck source=launch/slurm/requeue.sh
source "$here/slurm/requeue.sh"

# Modules: what the program was built with.
# module load openmpi cuda

# srun does not take it from the batch job by itself.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
launcher=(srun --mpi=pmix --kill-on-bad-exit=1 --gpu-bind=none)
# Containers: between srun and the program.
# launcher+=(apptainer exec --nv image.sif)

program=$(find_program "${SHARDORA:-}" "$here")
words_of_this_start "$@"
run_job "${launcher[@]}" "$program"
