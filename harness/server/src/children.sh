# Shell functions to end what a process has adopted: read by the local target's supervisor and run in containers.
# Builtins only but for sleep, so that it works when no more processes can be made.

# children PARENT: sets $children to the ids of the living children of PARENT.
children() {
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
        if [ "$parent" = "$1" ] && [ "$state" != Z ]; then
            children="$children $pid"
        fi
    done 2>/dev/null
}

# end_children PARENT [SPARED]: kills the children of PARENT, and theirs as PARENT adopts them, except SPARED.
# Fails when some are left after 10 s.
end_children() {
    tries=0
    while [ "$tries" -lt 500 ]; do
        children "$1"
        found=
        for pid in $children; do
            case " ${2:-} $$ " in
            *" $pid "*) ;;
            *) found="$found $pid" ;;
            esac
        done
        [ -n "$found" ] || return 0
        kill -KILL $found 2>/dev/null
        tries=$((tries + 1))
        sleep 0.02
    done
    return 1
}
