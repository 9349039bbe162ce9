#!/usr/bin/env bash
# Starts the program on several hosts without a batch system. The hosts reach each other by ssh without a password, and
# find the program, the model, the data and the output folder under the same paths.
#
#   launch/hosts.sh --hosts node1:8,node2:8 train --config run.cfg          eight ranks on each
#   launch/hosts.sh --hosts a:2,b:2 --network 10.0.0.0/24 train …           MPI over this network alone
#   launch/hosts.sh --hosts a:2,b:2 --oversubscribe train …                 more ranks than cores
#   launch/hosts.sh --hosts a:2,b:2 --shardora build/debug/shardora train … another program than the usual one
#
# Signals and exit status are as local.sh says; a host that dies or is cut off ends a training run with 75 and its name,
# within parallel.timeout_seconds and 5 s. All hosts have as many cores as this one, or give --oversubscribe.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common/supervise.sh
source "$here/common/supervise.sh"
# shellcheck source=launch/common/mpirun.sh
source "$here/common/mpirun.sh"

# Ranks of all hosts, and the most on one of them: sets `ranks` and `most`.
count_ranks() {
  local host number
  ranks=0 most=0
  for host in ${1//,/ }; do
    number=${host##*:}
    [[ $host == ?*:* && $number =~ ^[1-9][0-9]{0,3}$ ]] || refuse "--hosts $1: expected HOST:RANKS,HOST:RANKS,…"
    ranks=$((ranks + number)) most=$((number > most ? number : most))
  done
}

main() {
  local hosts="" share=false named="" network=() ranks most program
  while [[ ${1:-} == -* ]]; do
    case $1 in
      --hosts) hosts=${2:-}; shift 2 || refuse "--hosts: expected HOST:RANKS,HOST:RANKS,…" ;;
      --network)
        network=(--mca btl_tcp_if_include "${2:-}" --mca oob_tcp_if_include "${2:-}")
        shift 2 || refuse "--network: expected one as in 10.0.0.0/24, or the name of an interface"
        ;;
      --shardora) named=${2:-}; shift 2 || refuse "--shardora: expected a program" ;;
      --oversubscribe) share=true; shift ;;
      *) refuse "unknown option $1: expected --hosts, --network, --oversubscribe or --shardora, then the program's words" ;;
    esac
  done
  [[ $# -gt 0 ]] || refuse "nothing to start: expected the program's words, as in: $script --hosts a:8,b:8 train …"
  count_ranks "$hosts"
  hosts_and_ranks=$hosts
  ((ranks > 0)) || refuse "--hosts is missing: expected HOST:RANKS,HOST:RANKS,…"
  program=$(realpath "$(find_program "$named" "$here")") || exit
  mpirun_words "$most" "$(nproc)" "$share" --oversubscribe || exit
  supervise "$(output_dir "$@")" "${mpirun[@]}" "${network[@]}" --host "$hosts" -np "$ranks" "$program" "$@"
  settle_signal "$1"
  settle_lost_host "$1"
  exit "$status"
}

main "$@"
