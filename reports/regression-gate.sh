#!/bin/sh
# How often the gate is right: a baseline of `regression-gate`, then N runs of the same client, which have to pass, and N of
# a client that polls on new connections, which have to fail.
#
#     reports/regression-gate.sh [N] [TARGET]      # 20 and local; SSHCHURN=path/to/sshchurn
#
# One line for each run and a table of exit codes at the end, on stdout. Bounded: 2 N + 1 runs of at most two minutes each.
# Exit code 0 when all were right. Run directories are kept in $OUT, by default a new temporary folder.
set -eu
n=${1:-20}
target=${2:-local}
sshchurn=${SSHCHURN:-target/release/sshchurn}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"

run() { # NAME SCENARIO ARGS...: the exit code, and seconds taken
    name=$1 scenario=$2
    shift 2
    began=$(date +%s)
    code=0
    timeout 120 "$sshchurn" run "$scenario" --target "$target" --no-progress --out "$out/$name" "$@" \
        >"$out/$name.txt" 2>"$out/$name.err" || code=$?
    printf '%s: exit %s, %s s\n' "$name" "$code" "$(($(date +%s) - began))"
}

run baseline regression-gate
[ "$code" -eq 0 ] || { cat "$out/baseline.err" >&2; exit 4; }
passed=0 caught=0 unsure=0 i=1
while [ "$i" -le "$n" ]; do
    run "same-$i" regression-gate --baseline "$out/baseline/report.json"
    if [ "$code" -eq 0 ]; then passed=$((passed + 1)); fi
    if [ "$code" -eq 3 ]; then unsure=$((unsure + 1)); fi
    run "churn-$i" regression-gate-churn --baseline "$out/baseline/report.json"
    if [ "$code" -eq 1 ]; then caught=$((caught + 1)); fi
    if [ "$code" -eq 3 ]; then unsure=$((unsure + 1)); fi
    i=$((i + 1))
done
echo
echo "the same client passed (exit 0):       $passed of $n"
echo "the worse client was caught (exit 1):  $caught of $n"
echo "inconclusive (exit 3), of both:        $unsure of $((2 * n))"
echo "run directories: $out"
[ "$passed" -eq "$n" ] && [ "$caught" -eq "$n" ]
