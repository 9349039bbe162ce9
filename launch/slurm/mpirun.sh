#!/usr/bin/env bash
# As srun.sh, with ranks started by mpirun, for clusters whose srun and Open MPI do not know each other:
#
#   sbatch launch/slurm/mpirun.sh train --config run.cfg
#
# Prefer srun on several nodes: where a job is preempted and the site does not set preempt_send_user_signal, Slurm ends
# mpirun's daemons before the ranks could save. More ranks than cores: sbatch --overcommit.
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
#SBATCH --signal=B:USR1@120
# GPUs: one rank each, and each rank sees all of its node's (a second # less turns these on).
##SBATCH --gpus-per-node=8 --ntasks-per-node=8 --cpus-per-task=12
# Yours:
##SBATCH --account=… --partition=…
##SBATCH --mail-type=END,FAIL,REQUEUE --mail-user=…
set -euo pipefail
here=${SHARDORA_LAUNCH:-$SLURM_SUBMIT_DIR/launch}
# shellcheck source=launch/common/supervise.sh
source "$here/common/supervise.sh"
# shellcheck source=launch/common/mpirun.sh
source "$here/common/mpirun.sh"
# shellcheck source=launch/slurm/requeue.sh
source "$here/slurm/requeue.sh"

# Modules: what the program was built with.
# module load openmpi cuda

overcommit=false
if [[ -n ${SLURM_OVERCOMMIT:-} ]]; then overcommit=true; fi
mpirun_words "$SLURM_NTASKS_PER_NODE" "$SLURM_CPUS_ON_NODE" "$overcommit" "sbatch --overcommit"
launcher=("${mpirun[@]}" -np "$SLURM_NTASKS")
# Containers: between mpirun and the program.
# launcher+=(apptainer exec --nv image.sif)

program=$(find_program "${SHARDORA:-}" "$here")
words_of_this_start "$@"
run_job "${launcher[@]}" "$program"
