#!/usr/bin/env bash
# A job array, each of its tasks a run of its own, started by srun: to the words here come those of one line of a file.
#
#   printf '%s\n' '--adapter.rank=8 --output.dir=r8' '--adapter.rank=16 --output.dir=r16' >runs.txt
#   sbatch --array=1-2 launch/slurm/array.sh runs.txt train --config run.cfg
#
# Modules, containers and GPUs have their places in srun.sh, Slurm's own options here.
#SBATCH --job-name=shardora
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --output=%x-%A_%a.log
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

read -ra more <<<"$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")"
if [[ ${#more[@]} == 0 ]]; then
  echo "array.sh: $1: line $SLURM_ARRAY_TASK_ID is not there or empty, expected a run's words" >&2
  exit 64
fi
exec bash "$here/slurm/srun.sh" "${@:2}" "${more[@]}"
