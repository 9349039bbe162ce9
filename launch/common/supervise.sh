# Sourced by the launch scripts: starts a launcher (mpirun, srun) with the program, turns signals into the one that
# every launcher passes on to the ranks, and tells how the run ended.
# shellcheck shell=bash

script=$(basename "$0")
say() { echo "$script: $*" >&2 || true; } # of a terminal that is gone, perhaps
refuse() { say "$1"; exit "${2:-64}"; }
# shellcheck source=launch/common/launcher_words.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher_words.sh"

stopped=false
trap 'stopped=true' INT TERM USR1 HUP # from now on, or one that comes early would be lost; not HUP under nohup

# The program: the one named, else the one on PATH, else this tree's own. $1: name or nothing; $2: the launch folder.
find_program() {
  local found=$1 place
  for place in "$(command -v shardora)" "$2/../build/release/shardora" "$2/../../../bin/shardora"; do
    if [[ -z $found && -x $place ]]; then found=$place; fi
  done
  if [[ -z $found ]] || ! command -v "$found"; then
    say "${found:-shardora}: no such program; build it, or name it with --shardora"
    return 64
  fi
}

# The value of --NAME=VALUE or --NAME VALUE among the words that follow; the empty word where it is not there.
word_of() {
  local name=$1 word next=false
  for word in "${@:2}"; do
    if $next || [[ $word == "--$name="* ]]; then
      echo "${word#"--$name="}"
      return
    fi
    if [[ $word == "--$name" ]]; then next=true; fi
  done
}

# output.dir as the program will see it: of the command line, else of the configuration file.
output_dir() {
  local dir config
  dir=$(word_of output.dir "$@")
  config=$(word_of config "$@")
  if [[ -n $dir || -z $config || ! -r $config ]]; then
    echo "$dir"
    return
  fi
  # As runtime/formats/config_file.h has it.
  awk '{ sub(/\r$/, ""); sub(/^[ \t]+/, "") }
    /^\[/ { sub(/[ \t]#.*/, ""); gsub(/[][ \t]/, ""); section = $0 "."; next }
    /^#/ { next }
    { key = value = $0; sub(/=.*/, "", key); gsub(/[ \t]/, "", key) }
    section key != "output.dir" { next }
    { sub(/^[^=]*=/, "", value) }
    value ~ /^[ \t]*"/ { sub(/^[ \t]*"/, "", value); gsub(/""/, "\001", value); sub(/".*/, "", value)
      gsub(/\001/, "\"", value); print value; exit }
    { sub(/[ \t]#.*/, "", value); sub(/^[ \t]+/, "", value); sub(/[ \t]+$/, "", value); print value; exit }' "$config"
}

# Two stamps differ where the file was written anew between them. No clock is asked: hosts have different ones.
stamp() { stat -c '%i %y' "$1/exit.json" 2>/dev/null || echo none; }
number_in() { sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9]\{1,18\}\).*/\1/p" "$2" 2>/dev/null | head -n 1; }

# supervise DIR LAUNCHER…: runs it in a session of its own, so that a terminal's or a batch system's signal reaches this
# script alone. mpirun would answer SIGTERM and SIGINT by killing the ranks; SIGUSR1 it passes on, and they save. It is
# sent at every tick until the run has said how it ended, for the first one may come before the ranks are there; to them
# a second one changes nothing. Then the launcher has $patience seconds to end, and one to two where a peer was lost: one
# whose daemons are not reached would wait for ever.
# Sets `status` (the run's), `wrote` (whether exit.json is this start's), `heard` (what the launcher has said, as
# launcher_words.sh has it), `lost_peer` (whether a rank has said that one is lost) and `stopped` (whether a signal came).
patience=20
supervise() {
  local dir=$1 before pid ticker said words_in teller
  shift
  before=$(stamp "$dir")
  wrote=false status=138 heard=0 lost_peer=false
  if $stopped; then return; fi
  trap : ALRM # a tick: wait returns
  trap 'lost_peer=true' USR2 # launcher_words.sh has heard of it
  ticks &
  ticker=$!
  disown "$ticker" # or the shell would tell of its end
  exec {words_in}> >(tell_launcher_words)
  teller=$!
  setsid "$@" 2>&"$words_in" {words_in}>&- &
  pid=$!
  exec {words_in}>&-
  watch "$pid" "$dir" "$before"
  status=0
  wait "$pid" 2>/dev/null || status=$?
  trap '' INT TERM USR1 USR2 HUP ALRM # what is left to do is short, and must be done
  hear_out "$teller"
  kill -KILL "$ticker" 2>/dev/null || true
  if written_since "$dir" "$before"; then
    wrote=true
    said=$(number_in status "$dir/exit.json")
    status=${said:-$status}
  fi
}

# The last of the launcher's words. Somebody whom it has left behind may hold the pipe for long.
hear_out() {
  local tries
  for ((tries = 0; tries < 20; ++tries)); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  kill -USR2 "$1" 2>/dev/null || true
  wait "$1" || heard=$?
}

# Until the launcher has ended. wait returns at each signal and at each tick.
watch() {
  local pid=$1 lingers=0
  while kill -0 "$pid" 2>/dev/null; do
    if $lost_peer || written_since "$2" "$3"; then
      lingers=$((lingers + 1))
      if $lost_peer && ((lingers > 2)); then kill_session "$pid"; fi
      if ((lingers == patience)); then end_session "$pid"; fi
    elif $stopped; then
      kill -USR1 "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
  done
}

written_since() { [[ -n $1 && $(stamp "$1") != "$2" ]]; }

# One a second to this script, as long as it is there.
ticks() {
  trap '' INT TERM USR1 HUP
  exec >/dev/null 2>&1
  while sleep 1 && kill -ALRM $$; do :; done
}

# A launcher that lingers after its ranks have ended, and whatever it has left on this host.
end_session() {
  say "the run has ended, its launcher has not: ending it"
  kill -TERM "$1" 2>/dev/null || true
  sleep 5
  kill_session "$1"
}
kill_session() { pkill -KILL -s "$1" || true; } 2>/dev/null # for the shell, too, which would tell that it was killed

# A run that has lost a peer, or whose launcher has lost a host, before its ranks could write how it ended: it may start
# again.
settle_lost_host() {
  if $wrote; then return; fi
  if $lost_peer; then status=75; fi
  if [[ $1 == train && $heard == "$lost_a_host" ]]; then status=75; fi
  if [[ $heard == "$no_daemon" ]]; then status=69; fi
}

# A signal that came before the program could take it has ended the launcher or the ranks by SIGUSR1, or kept them from
# being started: a run that may start again.
settle_signal() {
  if [[ $1 == train && $status == 138 ]] && $stopped && ! $wrote; then status=75; fi
}
