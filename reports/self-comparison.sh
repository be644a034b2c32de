#!/bin/sh
# How often a build compared with itself raises a false alarm: N comparisons of 2 N separate runs of one scenario.
#
#     reports/self-comparison.sh [N] [TARGET] [SCENARIO] [ROUNDS]      # 40, local, smoke, 3; SSHCHURN=path/to/sshchurn
#
# One line for each comparison (exit code 0 nothing regressed, 1 false alarm, 3 inconclusive) and the counts at the end, on
# stdout. Bounded: 2 N runs of at most two minutes each. Runs that exist in $OUT are not made again.
set -eu
n=${1:-40}
target=${2:-local}
scenario=${3:-smoke}
rounds=${4:-3}
sshchurn=${SSHCHURN:-target/release/sshchurn}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"

passed=0 alarms=0 unsure=0 other=0 i=1
while [ "$i" -le "$n" ]; do
    for run in $((2 * i - 1)) $((2 * i)); do
        [ -e "$out/$run" ] || timeout 120 "$sshchurn" run "$scenario" --target "$target" --rounds "$rounds" \
            --no-progress --out "$out/$run" >"$out/$run.txt" 2>&1 || true
    done
    code=0
    "$sshchurn" compare "$out/$((2 * i - 1))" "$out/$((2 * i))" >"$out/compare-$i.txt" 2>&1 || code=$?
    printf '%s: exit %s  %s\n' "$i" "$code" "$(sed -n 's/^Against the baseline: //p' "$out/compare-$i.txt")"
    case $code in
    0) passed=$((passed + 1)) ;;
    1) alarms=$((alarms + 1)) ;;
    3) unsure=$((unsure + 1)) ;;
    *) other=$((other + 1)) ;;
    esac
    i=$((i + 1))
done
echo
echo "comparisons: $n; nothing regressed: $passed, false alarms: $alarms, inconclusive: $unsure, not compared: $other"
echo "run directories: $out"
