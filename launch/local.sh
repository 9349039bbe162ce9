#!/usr/bin/env bash
# Starts the program on this host, one rank a GPU.
#
#   launch/local.sh train --config run.cfg                   as many ranks as there are GPUs, or one
#   launch/local.sh -n 2 train --config run.cfg              two ranks
#   launch/local.sh -n 8 --oversubscribe train …             more ranks than cores
#   launch/local.sh --shardora build/debug/shardora train …  another program than the one on PATH or of this tree
#
# Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP (a terminal that is closed; not under nohup) let a training run save at its next step and end with status 75; the same command
# continues it. The exit status is the program's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common/supervise.sh
source "$here/common/supervise.sh"
# shellcheck source=launch/common/mpirun.sh
source "$here/common/mpirun.sh"

gpus() {
  if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
    tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .
  else
    { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU' || true
  fi
}

main() {
  local ranks="" share=false named="" program
  while [[ ${1:-} == -* ]]; do
    case $1 in
      -n) ranks=${2:-}; shift 2 || refuse "-n: expected a number of ranks" ;;
      --shardora) named=${2:-}; shift 2 || refuse "--shardora: expected a program" ;;
      --oversubscribe) share=true; shift ;;
      *) refuse "unknown option $1: expected -n RANKS, --oversubscribe or --shardora PROGRAM, then the program's words" ;;
    esac
  done
  [[ $# -gt 0 ]] || refuse "nothing to start: expected the program's words, as in: $script -n 2 train --config run.cfg"
  if [[ -z $ranks ]]; then
    ranks=$(gpus)
    if [[ $ranks == 0 ]]; then ranks=1; fi
  fi
  [[ $ranks =~ ^[1-9][0-9]{0,3}$ ]] || refuse "-n $ranks: expected a number of ranks, 1 or more"
  program=$(find_program "$named" "$here") || exit
  mpirun_words "$ranks" "$(nproc)" "$share" --oversubscribe || exit
  supervise "$(output_dir "$@")" "${mpirun[@]}" -np "$ranks" "$program" "$@"
  settle_signal "$1"
  settle_lost_host "$1"
  exit "$status"
}

main "$@"
