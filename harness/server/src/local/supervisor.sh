# The parent of a local sshd: starts it, adopts whatever its jobs leave (it is a child subreaper, set by the harness),
# and when its standard input ends, ends all of that and removes the private folder. The harness closes that pipe on
# purpose to stop; the kernel closes it when the harness dies, of kill -9 too.
#
#   sh -c ... supervisor FOLDER SSHD DESCRIPTORS PRIVSEP      PRIVSEP: a folder to remove at the end, or empty
#
# Says on standard output: `listener PID`, `reader PID`, and `ended STATUS` should sshd end by itself.
folder=$1
privsep=$4

# Sets $children to the ids of the living children of this shell. Builtins only, here and below but for sleep, so that it
# works when no more processes can be made.
find_children() {
    children=
    for status in /proc/[0-9]*/status; do
        state='' pid='' parent=''
        while read -r key value _; do
            case $key in
            State:) state=$value ;;
            Pid:) pid=$value ;;
            PPid:) parent=$value; break ;;
            esac
        done <"$status"
        if [ "$parent" = "$$" ] && [ "$state" != Z ]; then
            children="$children $pid"
        fi
    done 2>/dev/null
}

# Kills its children, and theirs as it adopts them. Gives up after 10 s.
end_children() {
    tries=0
    while find_children && [ -n "$children" ] && [ "$tries" -lt 500 ]; do
        # Unquoted: a list of ids.
        kill -KILL $children 2>/dev/null
        tries=$((tries + 1))
        sleep 0.02
    done
}

finish() {
    trap '' TERM
    end_children
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
