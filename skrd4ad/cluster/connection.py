"""A Ray cluster: one that is named, or one of this machine alone, which lasts as long as the block."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import MappingProxyType

from skrd4ad.errors import ClusterError, ConfigError
from skrd4ad.format import plural
from skrd4ad.parallel import THREADS_VARIABLE, cores

HERE = "local"
"""Address of a cluster that is made for this command, of this machine's processors."""
ANY = "auto"
"""Address of the cluster whose machine this is, as in a job that was submitted to it."""
VARIABLE = "SKRD4AD_RAY_ADDRESS"
"""Environment variable with the address of the cluster that the app sends its trainings to."""
REACH_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process is connected to."""

    address: str
    processors: tuple[float, ...]
    """Of each machine."""
    free: float
    """Processors that no other job holds now."""

    @property
    def words(self) -> str:
        """Its size, for people."""
        total = sum(self.processors)
        return f"{plural(len(self.processors), 'machine')}, {total:g} CPUs of which {self.free:g} are free"


@contextmanager
def connected(
    address: str, *, threads: int, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Cluster]:
    """Connect to a cluster for the length of the block, in which nothing reaches the standard output.

    Args:
        address: ``HOST:PORT`` of its head, or one of :data:`HERE` and :data:`ANY`.
        threads: processors that each worker process uses.
        environment: variables of the worker processes.

    Raises:
        ConfigError: the address is none.
        ClusterError: the cluster cannot be reached.
    """
    _require_reachable(address)
    # or each cluster reports to its makers that it was used
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # what it logs is for its makers; what concerns people is raised
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    # one processor more than there are: the scorers may take all, and what coordinates them needs little
    own = {"num_cpus": cores() + 1, "include_dashboard": False} if address == HERE else {}
    try:
        # named, always: without an address Ray joins whatever cluster it finds a trace of
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {**environment, THREADS_VARIABLE: str(threads)}},
            **own,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"The cluster {address} cannot be joined: {error}. Every machine needs the same versions of Ray and "
            "Python as this one."
        ) from error
    try:
        machines = [node for node in ray.nodes() if node["Alive"]]
        # what Ray tells of killed processes goes to the standard output, which is for results alone
        with redirect_stdout(sys.stderr):
            yield Cluster(
                address=address,
                processors=tuple(node["Resources"].get("CPU", 0.0) for node in machines),
                free=ray.available_resources().get("CPU", 0.0),
            )
    finally:
        ray.shutdown()


def workers_for(cluster: Cluster, *, threads: int, most: int) -> int:
    """How many workers with ``threads`` processors each the cluster has room for, up to ``most``.

    One processor stays free: with a worker on each of them, Ray Data makes no progress and does not say so.

    Raises:
        ConfigError: there is no room for one.
    """
    room = sum(int(each // threads) for each in cluster.processors)
    while room and room * threads > sum(cluster.processors) - 1:
        room -= 1
    if not room:
        raise ConfigError(
            f"The cluster has {_listed(cluster.processors)} CPUs, and a worker needs {threads} on one machine besides "
            "one that stays free. Add a machine, or give --threads a smaller number."
        )
    return min(room, most)


def _listed(processors: Sequence[float]) -> str:
    return " + ".join(f"{each:g}" for each in processors) or "no"


def _require_reachable(address: str) -> None:
    """Ray tries for minutes where nobody answers."""
    if address in (HERE, ANY):
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in address:
        raise ConfigError(
            f"The address of the cluster is {address!r}; allowed: HOST:PORT of its head, such as 10.0.0.1:6379, "
            f"{ANY} on one of its machines, or nothing for a cluster of this machine. From elsewhere, submit the "
            "command by `ray job submit`."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"Nobody answers at {address}: {error}. Start the head there by `ray start --head`, or name another one."
        ) from error
