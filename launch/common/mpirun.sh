# Sourced by the launch scripts: mpirun's own words, for Open MPI 4 and 5.
# shellcheck shell=bash

open_mpi_version() { mpirun --version 2>/dev/null | sed -n '1s/.* \([0-9]\{1,2\}\)\..*/\1/p'; }

threads_of_a_core() {
  local threads
  threads=$(lscpu 2>/dev/null | sed -n 's/^Thread(s) per core: *\([0-9]*\)$/\1/p')
  echo "${threads:-1}"
}

# mpirun_words RANKS_ON_A_HOST PROCESSORS SHARE HOW: sets `mpirun`. Each rank is bound to cores of its own, as many as there
# are for it. With SHARE = true ranks may share cores, and the system's scheduler places them.
# It is told to end a run in seconds where a link is cut, which it would not notice for hours.
mpirun_words() {
  local ranks=$1 cores=$(($2 / $(threads_of_a_core))) of_daemons=--prtemca
  mpirun=(mpirun)
  if [[ $EUID == 0 && -z ${OMPI_ALLOW_RUN_AS_ROOT:-} ]]; then
    say "started by root, as in a container: telling Open MPI that this is meant"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  if [[ $(open_mpi_version) == 4 ]]; then of_daemons=--mca; fi
  mpirun+=("$of_daemons" oob_tcp_keepalive_time 2 "$of_daemons" oob_tcp_keepalive_intvl 1
    "$of_daemons" oob_tcp_keepalive_probes 3)
  if $3; then
    mpirun+=(--map-by slot:OVERSUBSCRIBE --bind-to none)
  elif ((ranks > cores)); then
    say "$ranks ranks on a host with $cores cores for them; expected at most one a core, or $4"
    return 64
  else
    mpirun+=(--map-by "slot:PE=$((cores / ranks))" --bind-to core)
  fi
}
