#!/bin/sh
# The program on two ranks of one OpenMP thread under the thread sanitizer (libgomp itself gives false reports): the
# threads that run are our own. Ends with 66 where one of them races; the reports are said.
#     tests/support/tsan.sh [train words…]
set -e
cd "$(dirname "$0")/../.."
cmake --preset tsan > /dev/null
cmake --build --preset tsan --target shardora
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
export TSAN_OPTIONS="suppressions=$PWD/tests/support/tsan.supp exitcode=66 report_signal_unsafe=0 log_path=$out/report"
status=0
golden=tests/parity/golden
for tensor in 1 2; do
  mpirun -q -n 2 --oversubscribe --bind-to none build/tsan/shardora train --model.path=$golden/models/qwen2 \
    --data.train=$golden/data/101-train.safetensors --data.eval=$golden/data/101-held-out.safetensors \
    --adapter.rank=4 --train.global_batch=6 --train.steps=20 --train.eval_every=7 --train.check_every=3 \
    --parallel.threads=1 --parallel.tensor=$tensor --parallel.timeout_seconds=60 \
    --output.checkpoint_every=5 --output.dir="$out/run-$tensor" "$@" || status=$?
done
cat "$out"/report.* 2> /dev/null || echo "no race was reported"
exit $status
