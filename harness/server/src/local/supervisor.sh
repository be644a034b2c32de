# The parent of a local sshd: starts it, adopts whatever its jobs leave (it is a child subreaper, set by the harness),
# and when its standard input ends, ends all of that and removes the private folder. The harness closes that pipe on
# purpose to stop; the kernel closes it when the harness dies, of kill -9 too.
#
#   sh -c ... supervisor FOLDER SSHD DESCRIPTORS PRIVSEP      PRIVSEP: a folder to remove at the end, or empty
#
# Says on standard output: `listener PID`, `reader PID`, and `ended STATUS` should sshd end by itself.
folder=$1
privsep=$4

finish() {
    trap '' TERM
    end_children "$$"
    rm -rf "$folder"
    if [ -n "$privsep" ]; then
        # Another sshd that started meanwhile needs it for each of its connections.
        for comm in /proc/[0-9]*/comm; do
            read -r name <"$comm" && [ "$name" = sshd ] && exit 0
        done 2>/dev/null
        rmdir "$privsep" 2>/dev/null
    fi
    exit 0
}
trap finish TERM

cd "$folder" || exit 1
ulimit -n "$3" 2>/dev/null || ulimit -S -n "$3" 2>/dev/null
# An asynchronous command gets /dev/null as its standard input, so the pipe moves away first.
exec 3<&0 </dev/null
"$2" -D -f "$folder/sshd_config" -E "$folder/sshd.log" 3<&- >/dev/null 2>>"$folder/sshd.log" &
listener=$!
{ read -r _; kill -TERM "$$"; } <&3 3<&- >/dev/null &
exec 3<&-
echo "listener $listener"
echo "reader $!"
# Waiting also reaps what was adopted.
wait "$listener"
echo "ended $?"
wait
finish
