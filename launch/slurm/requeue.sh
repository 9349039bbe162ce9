# Sourced by the batch scripts here: the job's time limit and cores, and whether it starts again.
# shellcheck shell=bash disable=SC2154

# The job as scontrol and squeue want it. The last task of an array has the array's own number, which would mean all.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job=${job:-$SLURM_JOB_ID}

# Epoch seconds at which the job should have ended by itself: some before its limit, for clocks differ and ranks take a
# moment to end. Nothing where there is no limit.
stop_at() {
  local limit
  limit=$(date -d "$(squeue -h -j "$job" -o %e 2>/dev/null)" +%s 2>/dev/null) || return 0
  if ((limit > $(date +%s))); then echo $((limit - 15)); fi
}

# words_of_this_start WORDS…: sets `words`. A job that starts again continues, whatever the first start was to do with
# an earlier run's files.
words_of_this_start() {
  local dir limit word
  words=("$@")
  if [[ $1 != train ]]; then return; fi
  limit=$(stop_at)
  if [[ -n $limit && -z $(word_of train.stop_at "$@") ]]; then words+=("--train.stop_at=$limit"); fi
  dir=$(output_dir "$@")
  if [[ ${SLURM_RESTART_COUNT:-0} == 0 || -z $(last_step "$dir") ]]; then return; fi
  for word in "${!words[@]}"; do
    case ${words[word]} in --output.overwrite=* | --output.resume=*) unset "words[word]" ;; esac
  done
  words+=(--output.overwrite=false --output.resume=auto)
}

# The newest checkpoint's step; nothing where there is none.
last_step() {
  local name newest=""
  for name in "$1"/checkpoints/step-*; do
    name=${name##*/step-}
    if [[ $name =~ ^[0-9]{1,18}$ ]] && ((name > ${newest:--1})); then newest=$name; fi
  done
  echo "$newest"
}

# Whether the run ended by what another start may be spared: a signal, a time limit, a lost peer or host. Statuses of the
# launcher count where the run has not said how it ended: 137 a killed rank, 143 the same or an ended srun, 205 a lost host.
may_be_spared() {
  case $status in
    75) return 0 ;;
    137 | 143 | 205) ! $wrote ;;
    *) return 1 ;;
  esac
}

# How many processes were killed for memory in this job, as far as this host knows.
killed_here() {
  local group
  group=$(sed -n 's/^0:://p' "${cgroup_of_self:-/proc/self/cgroup}" 2>/dev/null)
  while [[ $group == */*/* && ! -r ${cgroups:-/sys/fs/cgroup}$group/memory.events ]]; do group=${group%/*}; done
  sed -n 's/^oom_kill \([0-9]*\)$/\1/p' "${cgroups:-/sys/fs/cgroup}$group/memory.events" 2>/dev/null || true
}

# The job's output, to which Slurm's daemons of all hosts write.
job_log() { scontrol show job "$job" 2>/dev/null | sed -n 's/^ *StdErr=//p'; }
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }

# Killed for memory between `before_memory` and now: it would be again.
killed_for_memory() {
  local log
  log=$(job_log)
  [[ $(killed_here) != "${memory_before[0]}" ]] ||
    tail -c "+$((memory_before[1] + 1))" "$log" 2>/dev/null | grep -i 'oom[-_ ]kill' >/dev/null # not -q: it would end before what it reads from
}

# One more start without a step saved since the last one, at most three in a row; kept in DIR/attempts.json. The folder is
# not there yet where the ranks were lost before they could make it.
may_try_again() {
  local file=$1/attempts.json now last count
  mkdir "$1" 2>/dev/null || true
  now=$(last_step "$1") now=${now:-0}
  last=$(number_in last_step "$file") count=$(number_in count "$file")
  if ((now > ${last:-0})); then count=0; else count=$((${count:-0} + 1)); fi
  if ((count > 3)); then
    say "three starts have saved no step after step $now; not again"
    return 1
  fi
  printf '{"count": %d, "last_step": %d}\n' "$count" "$now" >"$file.tmp-$SLURM_JOB_ID" &&
    mv "$file.tmp-$SLURM_JOB_ID" "$file"
}

# Not where somebody has cancelled the job, or Slurm has put it into the queue already: it is COMPLETING then.
is_running() { scontrol show job "$job" 2>/dev/null | grep 'JobState=RUNNING' >/dev/null; }

# run_job LAUNCHER… -- WORDS…: runs the program and, where that may help, puts the job into the queue again.
run_job() {
  local dir
  dir=$(output_dir "${words[@]}")
  memory_before=("$(killed_here)" "$(size_of "$(job_log)")")
  supervise "$dir" "$@" "${words[@]}"
  settle_signal "${words[0]}"
  settle_lost_host "${words[0]}"
  if [[ ${words[0]} == train && -n $dir ]] && may_be_spared && ! killed_for_memory && is_running && may_try_again "$dir"; then
    say "status $status: the job goes into the queue again"
    scontrol requeue "$job"
  fi
  exit "$status"
}
