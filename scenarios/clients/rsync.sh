# Sends a folder to the server, which takes it away again when rsync has ended there: a connection for that would be counted
# as rsync's.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
there=/tmp/sshchurn-rsync-$SSHCHURN_ROUND-$SSHCHURN_TASK-$$
on_server="sh -c 'rsync \"\$@\"; ended=\$?; rm -rf $there; exit \$ended' rsync"
echo hello >"$folder/file"
rsync -a --rsync-path="$on_server" -e "ssh -F $SSHCHURN_SSH_CONFIG" "$folder/" "$SSHCHURN_HOST:$there/"
