# Clones a bare repository from the server, which is this machine: the repository is made where the server finds it.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git init -q --bare "$folder/there.git"
export GIT_SSH_COMMAND="ssh -F $SSHCHURN_SSH_CONFIG"
git clone -q "ssh://$SSHCHURN_HOST:$SSHCHURN_PORT$folder/there.git" "$folder/here"
