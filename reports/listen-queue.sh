#!/bin/sh
# What a full listen queue does to a burst of connections, by the kernel's settings: a Markdown table, one run a row, each
# in a network namespace of its own with a fresh set of counters. Needs root, `unshare` (util-linux), `ip` (iproute2) and
# this machine's own sshd.
#
#     reports/listen-queue.sh [TASKS]          # 1000; SSHCHURN=path/to/sshchurn, OUT=folder for the runs
#
# `MaxStartups 5000:30:5000` refuses nobody, so that whatever is refused is the kernel's doing. Bounded: six runs of at
# most five minutes each. Exit code 1 when the books of a run do not balance.
set -eu
tasks=${1:-1000}
SSHCHURN=${SSHCHURN:-target/release/sshchurn}
OUT=${OUT:-$(mktemp -d)}
export SSHCHURN OUT
mkdir -p "$OUT"

# Runs in the namespace: TASKS SYNCOOKIES ABORT SOMAXCONN
# shellcheck disable=SC2016
row='
ip link set lo up
echo "$2" >/proc/sys/net/ipv4/tcp_syncookies
echo "$3" >/proc/sys/net/ipv4/tcp_abort_on_overflow
echo "$4" >/proc/sys/net/core/somaxconn
out=$OUT/$1-$2-$3-$4
code=0
timeout 300 "$SSHCHURN" run airflow-68115 -n "$1" --rounds 1 --strategy reused-session --max-startups 5000:30:5000 \
    --target local --no-progress --out "$out" >"$out.txt" 2>&1 || code=$?
sum() { awk -v name="sshchurn_$1_total" "index(\$1, name \"{\") == 1 { sum += \$NF } END { print sum + 0 }" "$out/metrics.txt"; }
grown() {
    awk -v name="$1" "/^TcpExt:/ { if (!at) { for (i = 2; i <= NF; i++) if (\$i == name) at = i } else print \$at }" /proc/net/netstat
}
echo "| $2 | $3 | $4 | $(sum attempts) | $(sum banner_eof) | $(sum listen_queue_refused) | $(sum listen_queue_timeout) |" \
    "$(sum tasks_failed) | $(grown ListenOverflows) | $(grown EmbryonicRsts) | $(grown TCPReqQFullDrop) |" \
    "$(grown SyncookiesFailed) | $code |"
[ "$code" -ne 3 ]
'

echo "| \`tcp_syncookies\` | \`tcp_abort_on_overflow\` | \`somaxconn\` | attempts | refused | of them by the kernel | gave up in the queue | tasks failed | ListenOverflows | EmbryonicRsts | TCPReqQFullDrop | SyncookiesFailed | exit |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
unbalanced=0
for settings in "1 0 4096" "1 1 4096" "0 0 4096" "0 1 4096" "1 0 32" "0 1 32"; do
    # shellcheck disable=SC2086
    unshare --net sh -c "$row" row "$tasks" $settings || unbalanced=1
done
exit "$unbalanced"
