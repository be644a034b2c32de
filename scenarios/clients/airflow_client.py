"""Apache Airflow's SSHRemoteJobOperator as Airflow drives it, without a scheduler.

The operator's `execute` runs in a worker thread of its own for each task, all behind one barrier. When it defers, its trigger
runs at once on one event loop that all triggers share, as in a triggerer, while other tasks still submit. When the
trigger fires, `execute_complete` runs in a thread again.

    airflow_client.py HOST,HOST,... SECONDS POLL_INTERVAL

runs one remote job of so many seconds for each host, and prints what became of the tasks. Works with
apache-airflow-providers-ssh 5.0.2 and later.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
import threading

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")


def define_connections(hosts):
    """One Airflow connection for each host, by environment variables."""
    for number, host in enumerate(hosts):
        extra = {"key_file": os.environ["SSHCHURN_KEY"], "no_host_key_check": "true", "look_for_keys": "false"}
        os.environ[f"AIRFLOW_CONN_TASK_{number}"] = json.dumps(
            {
                "conn_type": "ssh",
                "host": host,
                "login": os.environ["SSHCHURN_USER"],
                "port": int(os.environ["SSHCHURN_PORT"]),
                "extra": extra,
            }
        )


class TaskInstance:
    """What the operator asks of one."""

    def __init__(self, number):
        self.dag_id = "sshchurn"
        self.task_id = f"task_{number}"
        self.run_id = f"round_{os.environ.get('SSHCHURN_ROUND', '1')}"
        self.try_number = 1

    def xcom_push(self, key, value):
        """Nobody asks for it."""


async def first_event(trigger):
    async for event in trigger.run():
        return event.payload
    return None


def run_task(number, host, seconds, poll, cleanup, loop, barrier):
    from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator

    operator = SSHRemoteJobOperator(
        task_id=f"task_{number}",
        ssh_conn_id=f"task_{number}",
        remote_host=host,
        command=f"i=0; while [ $i -lt 10 ]; do echo line $i; i=$((i + 1)); sleep {seconds / 10}; done",
        poll_interval=poll,
        cleanup=cleanup,
    )
    context = {"ti": TaskInstance(number)}
    barrier.wait()
    deferred = attempt(operator.execute, context)
    while deferred is not None:
        fired = asyncio.run_coroutine_threadsafe(first_event(deferred.trigger), loop)
        method = getattr(operator, deferred.method_name)
        deferred = attempt(method, context, event=fired.result())


def attempt(method, *args, **kwargs):
    """The deferral that a method ends in, if it ends in one."""
    try:
        method(*args, **kwargs)
    except BaseException as error:  # TaskDeferred is no Exception
        if type(error).__name__ == "TaskDeferred":
            return error
        raise
    return None


def main():
    hosts = sys.argv[1].split(",")
    seconds, poll = float(sys.argv[2]), int(sys.argv[3])
    cleanup = sys.argv[4] if len(sys.argv) > 4 else "always"
    define_connections(hosts)
    import airflow.providers.ssh.operators.ssh_remote_job  # noqa: F401  (imported before anything is timed)

    logging.disable(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    triggerer = threading.Thread(target=loop.run_forever, daemon=True)
    triggerer.start()
    barrier = threading.Barrier(len(hosts))
    failures = []

    def worker(number, host):
        try:
            run_task(number, host, seconds, poll, cleanup, loop, barrier)
        except BaseException as error:
            failures.append(f"task {number}: {type(error).__name__}: {error}")

    workers = [threading.Thread(target=worker, args=pair) for pair in enumerate(hosts)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    loop.call_soon_threadsafe(loop.stop)
    print(f"{len(hosts) - len(failures)} of {len(hosts)} tasks succeeded")
    for failure in failures[:10]:
        print(failure)
    sys.exit(1 if failures else 0)


main()
