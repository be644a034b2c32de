"""Three commands on one connection to each host, all hosts at once on one event loop."""

import asyncio
import os
import sys

import asyncssh

COMMANDS = ["uname -s", "id -u", "true"]


async def talk(host):
    async with asyncssh.connect(
        host,
        port=int(os.environ["SSHCHURN_PORT"]),
        username=os.environ["SSHCHURN_USER"],
        client_keys=[os.environ["SSHCHURN_KEY"]],
        known_hosts=os.environ["SSHCHURN_KNOWN_HOSTS"],
        config=None,
        agent_path=None,
    ) as connection:
        for command in COMMANDS:
            await connection.run(command, check=True)


async def main():
    await asyncio.gather(*(talk(host) for host in sys.argv[1].split(",")))


asyncio.run(main())
