# Sourced by the launch scripts: what mpirun says of itself, told in one line each.
# shellcheck shell=bash

lost_a_host=3 no_daemon=4
hosts_and_ranks="" # HOST:RANKS,… where the script knows them

# Copies standard input to standard error as it comes, but for mpirun's own reports, which stand between lines of
# dashes: that a host is lost or a rank was killed becomes one line with its name, that a rank has ended is left to the
# rank to tell, and any other is passed on. Until the input ends, or SIGUSR2 comes; by the same signal the script hears
# of a lost peer. Returns $lost_a_host, or $no_daemon where the run could not begin on every host, or 0.
tell_launcher_words() {
  local line block="" told=0 ran=false
  trap '' INT TERM USR1 HUP # which come to a whole terminal
  trap 'exit "$told"' USR2
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ ^-{40,}$ && -n $block ]]; then
      tell_report "$block"
      block=""
    elif [[ $line =~ ^-{40,}$ || (-n $block && ${#block} -lt 4000) ]]; then
      block+=$line$'\n'
    else # a report is shorter: somebody else's dashes
      printf '%s' "$block" >&2
      block=""
      tell_line "$line"
    fi
  done
  printf '%s' "$block" >&2
  return "$told"
}

tell_line() {
  if [[ $1 == "shardora: [rank "* ]]; then ran=true; fi
  if [[ $1 =~ ^"shardora: [rank "[0-9]+"] no progress" ]]; then kill -USR2 $$; fi
  local of_other_reports='^(\[.*\] )?([0-9]+ more process.* sent help message|Set MCA parameter .*base_help_aggregate)'
  if [[ $1 =~ $of_other_reports ]]; then return; fi
  printf '%s\n' "$1" >&2
}

tell_report() {
  local text=${1//$'\n'/ } place='on node ([^ ]+) +exited on +signal ([0-9]+ \([^)]*\))'
  if [[ $text =~ "has lost communication with a remote daemon".*"Remote daemon:"[^:]*" on node "([^ ]+) ]]; then
    tell_lost_host "${BASH_REMATCH[1]}"
  elif [[ $text == *"unable to reliably start one or more daemons"* ]]; then
    if $ran; then tell_lost_host ""; else tell_no_daemon; fi
  elif [[ $text =~ "noticed that process rank "([0-9]+)\ .*$place ]]; then
    ((told > 0)) || say "rank ${BASH_REMATCH[1]} on ${BASH_REMATCH[2]} was ended by signal ${BASH_REMATCH[3]}"
  elif [[ $text != *"has been aborted."* && $text != *"MPI_ABORT was invoked on rank"* &&
    $text != *"processes exited with non-zero status"* ]] && ((told == 0)); then
    printf '%s%s\n' "$1" "${1%%$'\n'*}" >&2
  fi
}

tell_lost_host() {
  local host="a host"
  ((told == 0)) || return 0
  told=$lost_a_host
  if [[ -n $1 ]]; then host="host $1$(ranks_of "$1")"; fi
  say "lost $host: it has died, or the link to it is cut; start it again; a training run" \
    "continues from its last checkpoint"
}

tell_no_daemon() {
  ((told == 0)) || return 0
  told=$no_daemon
  say "mpirun could not start on every host; each must be reached by ssh without a password, must have this Open MPI," \
    "and must reach this one (--network names the network)"
}

# Its ranks, where the script has asked for them by host. mpirun gives them out in that order.
ranks_of() {
  local entry first=0
  for entry in ${hosts_and_ranks//,/ }; do
    if [[ ${entry%:*} == "$1" ]]; then
      echo " (ranks $first to $((first + ${entry##*:} - 1)))"
      return
    fi
    first=$((first + ${entry##*:}))
  done
}
