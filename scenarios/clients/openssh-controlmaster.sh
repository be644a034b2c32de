# $1 sessions at once over one shared connection.
folder=$(mktemp -d) || exit 1
trap 'ssh -F "$SSHCHURN_SSH_CONFIG" -o ControlPath="$folder/master" -O exit "$SSHCHURN_HOST" 2>/dev/null; rm -rf "$folder"' EXIT
shared() { ssh -F "$SSHCHURN_SSH_CONFIG" -o ControlPath="$folder/master" "$@" </dev/null; }
# A master that is ready before anybody needs it.
shared -o ControlMaster=yes -o ControlPersist=60 "$SSHCHURN_HOST" true || exit 1
# Each session lasts until all have begun, or what ends makes room for what comes.
sessions=""
n=0
while [ "$n" -lt "$1" ]; do
    shared -o ControlMaster=no "$SSHCHURN_HOST" "sleep 5" &
    sessions="$sessions $!"
    n=$((n + 1))
done
status=0
for session in $sessions; do
    wait "$session" || status=1
done
exit "$status"
