#!/bin/sh
# A CI gate: runs a scenario, keeps everything a person wants to look at afterwards, and ends with sshchurn's own exit
# code. The recipes beside it call it; it needs nothing but a POSIX shell.
#
#   gate.sh SCENARIO [further arguments of `sshchurn run`]
#
#   SSHCHURN             the program [default: the one in PATH, else built from the checkout that this script is in]
#   SSHCHURN_OUT         the run directory, which is what CI keeps [default: sshchurn-report]; must be new or empty
#   SSHCHURN_BASELINE    report.json of an accepted run; the run is compared with it when the file is there
#   SSHCHURN_REPEATS     how often an inconclusive run (exit code 3) is made again [default: 2]; what it left is kept in
#                        SSHCHURN_OUT/inconclusive-N
#   GITHUB_STEP_SUMMARY  set by GitHub Actions: gets the report
set -u

out=${SSHCHURN_OUT:-sshchurn-report}
baseline=${SSHCHURN_BASELINE:-}
repeats=${SSHCHURN_REPEATS:-2}

say() { printf 'gate: %s\n' "$*" >&2; }

# An exit code as a sentence (README.md, "Exit codes").
meaning() {
    case $1 in
        0) echo "pass" ;;
        1) echo "fail: a threshold or the comparison with the baseline does not hold" ;;
        2) echo "wrong usage or configuration; nothing was measured" ;;
        3) echo "inconclusive: this run could not measure what it should, which says nothing about the client; the report names the reason, and a quieter machine or another run may do" ;;
        4) echo "the environment failed: no server, sshd refused its configuration or died, disk full, or no whole report" ;;
        130) echo "interrupted" ;;
        *) echo "unexpected" ;;
    esac
}

if [ $# -eq 0 ]; then
    say "usage: gate.sh SCENARIO [arguments of sshchurn run]"
    exit 2
fi

# --- the program ----------------------------------------------------------------------------------------------------
sshchurn=${SSHCHURN:-}
if [ -z "$sshchurn" ]; then
    sshchurn=$(command -v sshchurn || :)
fi
if [ -z "$sshchurn" ]; then
    root=$(cd "$(dirname "$0")/../.." && pwd) || exit 4
    say "building sshchurn in $root"
    if ! cargo build --release --locked --manifest-path "$root/Cargo.toml" >&2; then
        say "sshchurn could not be built"
        exit 4
    fi
    sshchurn=${CARGO_TARGET_DIR:-$root/target}/release/sshchurn
fi

# --- the run --------------------------------------------------------------------------------------------------------
if [ -n "$baseline" ]; then
    if [ -s "$baseline" ]; then
        say "comparing with $baseline"
        set -- "$@" --baseline "$baseline"
    else
        say "no baseline $baseline: thresholds only; keep report.json of a good run there"
    fi
fi
text=$(mktemp) || exit 4
trap 'rm -f "$text"' EXIT
repeated=0
while :; do
    "$sshchurn" run "$@" --out "$out" >"$text" &
    pid=$!
    # A CI system ends the script, not its children. SIGINT comes from a terminal, which gives it to all of them.
    stopped=
    trap 'signalled=1 stopped=1; kill -TERM "$pid" 2>/dev/null' TERM HUP
    trap 'signalled=1 stopped=1' INT
    while :; do
        signalled=
        code=0
        wait "$pid" || code=$?
        # A signal ends the wait, not sshchurn, which removes its server first.
        if [ -z "$signalled" ] || [ "$code" -le 128 ]; then break; fi
    done
    # Inconclusive is no verdict: another run may be one. What it left is kept.
    if [ "$code" -ne 3 ] || [ -n "$stopped" ] || [ "$repeated" -ge "$repeats" ]; then break; fi
    repeated=$((repeated + 1))
    say "inconclusive (exit code 3): measured again, $repeated of at most $repeats times"
    mv "$out" "$out.inconclusive-$repeated" || break
done
trap - TERM HUP INT

# --- what is kept ---------------------------------------------------------------------------------------------------
cat "$text"
while [ "$repeated" -gt 0 ]; do
    if [ -d "$out" ] && [ -d "$out.inconclusive-$repeated" ]; then
        mv "$out.inconclusive-$repeated" "$out/inconclusive-$repeated"
    fi
    repeated=$((repeated - 1))
done
# A run that was refused has no business in a directory that belongs to another.
if [ "$code" -ne 2 ]; then
    mkdir -p "$out"
    cp "$text" "$out/report.txt"
    missing=
    for file in report.html report.md junit.xml report.json metrics.txt; do
        [ -s "$out/$file" ] || missing="$missing $file"
    done
    if [ -n "$missing" ]; then
        say "not in $out:$missing"
        # A run that was judged has written all of them: without them there is nothing to believe, least of all a pass.
        case $code in
            0 | 1 | 3)
                say "sshchurn ended with exit code $code but left no whole report"
                code=4
                ;;
        esac
    fi
fi
sentence="$(meaning "$code") (exit code $code)"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    {
        printf '## sshchurn: %s\n\n' "$sentence"
        if [ "$code" -ne 2 ] && [ -s "$out/report.md" ]; then
            cat "$out/report.md"
        elif [ -s "$text" ]; then
            # shellcheck disable=SC2016
            printf '```text\n%s\n```\n' "$(cat "$text")"
        else
            printf 'There is no report; the job'\''s log says why.\n'
        fi
    } >>"$GITHUB_STEP_SUMMARY"
fi
say "$sentence"
exit "$code"
