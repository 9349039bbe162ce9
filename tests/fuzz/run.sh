#!/usr/bin/env bash
# The long campaign: each fuzz target for some minutes of one core, from the corpus in the tree and what earlier runs
# have found; then its corpus is minimised.
#
#   tests/fuzz/run.sh                          all targets, 30 minutes each
#   tests/fuzz/run.sh --minutes 5 options      some of them, for less
#   tests/fuzz/run.sh --keep                   and keeps the fewest inputs with the same coverage: tests/fuzz/corpus/*.tar.gz
#
# What is found stays in build/fuzz/corpus, findings as build/fuzz/findings/TARGET-crash-…: give such a file to
# build/fuzz/tests/fuzz/fuzz_TARGET to see it again, and keep it, by a telling name, in tests/fuzz/corpus/TARGET.
# Exit status: 0 nothing found, 1 a finding, 64 a wrong option.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes=30
keep=false
targets=()
programs=build/fuzz/tests/fuzz
most_bytes=4096         # of an input; what is longer has nothing new to say
most_kept_bytes=400     # of an input that --keep takes over
found=0

refuse() {
  echo "run.sh: $*" >&2
  exit 64
}

parse() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --minutes)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || refuse "--minutes '${2:-}': expected a whole number from 1"
        minutes=$2
        shift ;;
      --keep) keep=true ;;
      -*) refuse "unknown option '$1': expected --minutes, --keep or names of targets" ;;
      *)
        [[ -f tests/fuzz/targets/$1.cc ]] || refuse "unknown target '$1': expected one of $(all)"
        targets+=("$1") ;;
    esac
    shift
  done
  if [[ ${#targets[@]} == 0 ]]; then read -ra targets <<<"$(all)"; fi
}

all() { find tests/fuzz/targets -name '*.cc' -printf '%f\n' | sed 's/\.cc$//' | sort | tr '\n' ' '; }

figure() { sed -n "s/^stat::$2: *//p" "$1"; }

fuzz() {
  local target=$1 work=build/fuzz/corpus/$1 log=build/fuzz/corpus/$1.log begin=$SECONDS result="nothing found"
  mkdir -p "$work" build/fuzz/findings
  tar -xzf "tests/fuzz/corpus/$target.tar.gz" -C "$work"
  "$programs/fuzz_$target" "$work" "tests/fuzz/corpus/$target" -max_total_time=$((60 * minutes)) -print_final_stats=1 \
    -max_len=$most_bytes -timeout=20 -rss_limit_mb=2048 -artifact_prefix="build/fuzz/findings/$target-" \
    >"$log" 2>&1 || { result="FOUND something, see $log"; found=1; }
  echo "$target: $(figure "$log" number_of_executed_units) executions, $((SECONDS - begin)) s," \
    "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1), $result"
}

# The fewest inputs with the same coverage, named by their content.
minimise() {
  local target=$1 work=build/fuzz/corpus/$1 fewest=build/fuzz/corpus/$1.fewest file
  rm -rf "$fewest"
  mkdir -p "$fewest"
  "$programs/fuzz_$target" -merge=1 "$fewest" "$work" >>"build/fuzz/corpus/$target.log" 2>&1
  rm -rf "$work"
  mv "$fewest" "$work"
  if $keep; then keep_small "$target" "$work"; fi
}

keep_small() {
  find "$2" -type f -size "-$((most_kept_bytes + 1))c" -printf '%f\0' |
    tar -C "$2" --null --files-from=- --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c |
    gzip -n -9 >"tests/fuzz/corpus/$1.tar.gz"
}

main() {
  parse "$@"
  cmake --preset fuzz >/dev/null
  cmake --build --preset fuzz >/dev/null
  local target
  for target in "${targets[@]}"; do
    fuzz "$target"
    minimise "$target"
  done
  exit $found
}

main "$@"
