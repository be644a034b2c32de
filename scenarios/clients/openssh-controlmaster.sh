# $1 sessions at once over one shared connection.
folder=$(mktemp -d) || exit 1
there=/tmp/sshchurn-sessions-$SSHCHURN_ROUND-$SSHCHURN_TASK-$$
shared() { ssh -F "$SSHCHURN_SSH_CONFIG" -o ControlPath="$folder/master" "$@" </dev/null; }
trap 'shared -O exit "$SSHCHURN_HOST" 2>/dev/null; rm -rf "$folder"' EXIT
# A master that is ready before anybody needs it.
shared -o ControlMaster=yes -o ControlPersist=60 "$SSHCHURN_HOST" "mkdir $there" || exit 1
# Each session lasts until all have begun, or what ends would make room for what comes.
sessions=""
n=0
while [ "$n" -lt "$1" ]; do
    shared -o ControlMaster=no "$SSHCHURN_HOST" \
        ": >$there/$n; while [ \$(ls $there | wc -l) -lt $1 ]; do sleep 0.2; done" &
    sessions="$sessions $!"
    n=$((n + 1))
done
status=0
for session in $sessions; do
    wait "$session" || status=1
done
shared -o ControlMaster=no "$SSHCHURN_HOST" "rm -r $there"
exit "$status"
