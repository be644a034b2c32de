"""Three commands on one connection (`reuse`), or on one connection each (`churn`)."""

import os
import sys

import paramiko

COMMANDS = ["uname -s", "id -u", "true"]


def barrier():
    """Says that everything is imported, and waits until all clients are ready."""
    if "SSHCHURN_READY_FD" in os.environ:
        os.write(int(os.environ["SSHCHURN_READY_FD"]), b"r")
        os.read(int(os.environ["SSHCHURN_GO_FD"]), 1)


def connect():
    client = paramiko.SSHClient()
    client.load_host_keys(os.environ["SSHCHURN_KNOWN_HOSTS"])
    client.connect(
        os.environ["SSHCHURN_HOST"],
        port=int(os.environ["SSHCHURN_PORT"]),
        username=os.environ["SSHCHURN_USER"],
        key_filename=os.environ["SSHCHURN_KEY"],
        allow_agent=False,
        look_for_keys=False,
    )
    return client


def run(client, command):
    _, stdout, _ = client.exec_command(command)
    stdout.read()
    if stdout.channel.recv_exit_status() != 0:
        sys.exit(f"{command} failed")


def main():
    barrier()
    if sys.argv[1] == "reuse":
        client = connect()
        for command in COMMANDS:
            run(client, command)
        client.close()
    else:
        for command in COMMANDS:
            client = connect()
            run(client, command)
            client.close()


main()
