# Clones a bare repository, which the server makes before git serves it and takes away afterwards: a connection for that would
# be counted as git's.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
there=/tmp/sshchurn-git-$SSHCHURN_ROUND-$SSHCHURN_TASK-$$
on_server="sh -c 'git init -q --bare $there; git-upload-pack \"\$@\"; ended=\$?; rm -rf $there; exit \$ended' git"
export GIT_SSH_COMMAND="ssh -F $SSHCHURN_SSH_CONFIG"
git clone -q --upload-pack "$on_server" "ssh://$SSHCHURN_HOST:$SSHCHURN_PORT$there" "$folder/here"
