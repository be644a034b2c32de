# A playbook of three tasks against the hosts of $2, with $1 as ssh's arguments.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME="$folder" ANSIBLE_LOCAL_TEMP="$folder" ANSIBLE_HOST_KEY_CHECKING=True ANSIBLE_NOCOLOR=1
export ANSIBLE_SSH_ARGS="-F $SSHCHURN_SSH_CONFIG $1" ANSIBLE_SSH_CONTROL_PATH_DIR="$folder/cp"
export ANSIBLE_PIPELINING="${ANSIBLE_PIPELINING:-False}" ANSIBLE_REMOTE_TEMP="$folder/remote"
cat >"$folder/play.yml" <<'END'
- hosts: all
  gather_facts: false
  tasks:
    - raw: uname -s
    - raw: id -u
    - raw: "true"
END
ansible-playbook -f 20 -i "$2," "$folder/play.yml"
