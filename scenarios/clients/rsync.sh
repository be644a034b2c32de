# Sends a folder to the server, which the same machine's temporary folder stands for, and takes it away again.
set -e
folder=$(mktemp -d)
there=/tmp/sshchurn-rsync-$SSHCHURN_ROUND-$SSHCHURN_TASK-$$
trap 'rm -rf "$folder" "$there"' EXIT
echo hello >"$folder/file"
rsync -a -e "ssh -F $SSHCHURN_SSH_CONFIG" "$folder/" "$SSHCHURN_HOST:$there/"
