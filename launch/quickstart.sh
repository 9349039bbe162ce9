#!/usr/bin/env bash
# From a bare Debian 12 to an adapted model in minutes: installs what is needed, builds the program, trains a small
# byte-level Llama from nothing on sentences made up here, teaches it a second skill with DoRA on two tensor-parallel
# ranks, merges the adapter, and asks base, adapted and merged model a hundred questions. Nothing is downloaded but
# packages.
#
#   launch/quickstart.sh
#   launch/quickstart.sh --model FOLDER --data FILE     the same stages on your own model
#
#   --model FOLDER   a Hugging Face folder: config.json, *.safetensors, tokenizer.json
#   --data FILE      a dataset file, or JSON Lines with "prompt" and "completion"; a tenth is held out
#   --output DIR     where everything is written (build/quickstart)
#   --ranks N        processes to train with (2)
#   -- --key=value   what follows goes to DoRA's training: -- --train.epochs=2 --adapter.rank=8
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

model=''
data=''
output=''
ranks=2
train_flags=()
stage_name=start

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
      --model | --data | --output | --ranks)
        [[ $# -ge 2 ]] || die "$1 needs a value" 64
        printf -v "${1#--}" %s "$2"
        shift 2 ;;
      *) die "unknown option '$1': see --help" 64 ;;
    esac
  done
  [[ $ranks =~ ^[1-9][0-9]*$ ]] || die "--ranks is '$ranks', expected a positive number" 64
  [[ -n $model || -z $data ]] || die "--data needs --model" 64
  [[ -n $data || -z $model ]] || die "--model needs --data" 64
  [[ -z $model || -f $model/config.json ]] || die "--model: '$model' has no config.json" 64
  [[ -z $data || -f $data ]] || die "--data: '$data' is not a file" 64
  # Everything below runs from the root of the tree; paths were given from where the user stands.
  if [[ -n $model ]]; then model=$(realpath "$model") data=$(realpath "$data"); fi
  output=$(realpath -m "${output:-$root/build/quickstart}")
}

prepare_environment() {
  if [[ $(id -u) == 0 ]]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  # Ranks that wait must not take the cores from those that work, and containers often forbid reading a peer's memory.
  export OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  export HWLOC_HIDE_ERRORS=2 # a container without /sys is no fault
  mkdir -p "$output/results" "$output/logs"
  : >"$output/results/seconds.tsv"
}

# stage NAME COMMAND…: runs one stage, shows its progress, keeps its log, and notes its seconds. Standard output of the
# program is a result: its file is results/NAME.out.
stage() {
  stage_name=$1
  local begin=$EPOCHREALTIME status=0 log=$output/logs/$1.log
  shift
  echo "── $stage_name" >&2
  "$@" 2> >(tee "$log" >&2) >"$output/results/$stage_name.out" || status=$?
  wait # for tee: its last lines belong before what is said next
  if [[ $status != 0 ]]; then
    local why
    why=": $(reason "$log")"
    if [[ $why == ": $(tail -n 1 "$log")" ]]; then why=', as the line above says'; fi
    die "stage '$stage_name' failed (status $status)$why. Its log is $log" "$status"
  fi
  awk -v name="$stage_name" -v begin="$begin" -v end="$EPOCHREALTIME" \
    'BEGIN { printf "%s\t%.1f\n", name, end - begin }' >>"$output/results/seconds.tsv"
}

# The program says what went wrong in one line that starts with its name; other tools say it last.
reason() { { grep -E '^(shardora|CMake Error|E:)' "$1" || grep -v '^[[:space:]]*$' "$1" || true; } | tail -n 1; }

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

# The skill is taught with the model cut over pairs of ranks; what remains are data-parallel copies.
tensor_ranks() { if ((ranks % 2 == 0)); then echo 2; else echo 1; fi; }

# quickstart PYTHON STEP …: a step of launch/shardora/quickstart, which needs no installation.
quickstart() { PYTHONPATH=launch "$1" -m shardora.quickstart "${@:2}"; }

make_demo() {
  quickstart python3 make "$output"
}

train_base() {
  on_ranks train --config configs/base.cfg --output.dir="$output/base" --output.overwrite=true \
    --model.path="$output/seed_model" \
    --data.train="$output/data/pages.train.safetensors" --data.eval="$output/data/pages.eval.safetensors"
}

train_dora() {
  on_ranks train --config "$1" --output.dir="$output/dora" --output.overwrite=true --model.path="$model" \
    --data.train="$output/data/skill.train.safetensors" --data.eval="$output/data/skill.eval.safetensors" \
    --parallel.tensor="$(tensor_ranks)" "${@:2}"
}

merge() {
  shardora merge --model.path="$model" --adapter.path="$output/dora/adapter" --output.dir="$output/merged" \
    --output.overwrite=true
}

# measure NAME FLAGS…: held-out loss and answers of one of the three models.
measure() {
  stage "eval-$1" shardora eval --data.eval="$output/data/skill.eval.safetensors" "${@:2}"
  stage "generate-$1" shardora generate --config "$output/data/generate.cfg" "${@:2}"
}

measure_all() {
  measure base --model.path="$model"
  measure adapted --model.path="$model" --adapter.path="$output/dora/adapter"
  measure merged --model.path="$output/merged"
}

demo() {
  stage make-data make_demo
  stage train-base train_base
  model=$output/base/model
  stage train-dora train_dora configs/dora.cfg "${train_flags[@]}"
}

own_model() {
  if [[ -f $model/tokenizer.json ]]; then stage install-tokenizers ./launch/install.sh --python tokenizers; fi
  local python=python3
  if [[ -x build/venv/bin/python ]]; then python=build/venv/bin/python; fi
  stage make-data quickstart "$python" split "$model" "$data" "$output"
  stage train-dora train_dora configs/finetune.cfg "${train_flags[@]}"
}

main() {
  parse "$@"
  cd "$root"
  prepare_environment
  stage install install
  stage build build
  local kind=demo
  if [[ -n $model ]]; then kind=own_model; fi
  "$kind"
  stage merge merge
  measure_all
  local python=python3
  if [[ $kind == own_model && -x build/venv/bin/python ]]; then python=build/venv/bin/python; fi
  quickstart "$python" table "$kind" "$model" "$output"
}

main "$@"
