# Three commands, each on a connection of its own.
set -e
for command in "uname -s" "id -u" "true"; do
    ssh -F "$SSHCHURN_SSH_CONFIG" "$SSHCHURN_HOST" "$command" </dev/null
done
