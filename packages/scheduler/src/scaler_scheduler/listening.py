"""Where a scheduler listens: its own address, and the two derived from it, for object storage and monitors.

With port 0 a base port is chosen so that the derived ones are free; an address that is given is never changed.
"""

import contextlib
from dataclasses import dataclass, replace

import zmq

from scaler_protocol.addresses import MAX_PORT, Address
from scaler_runtime.transport import BindError, PubSocket, RouterSocket, can_bind
from scaler_scheduler.config import SchedulerConfig

_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets for peers and monitors.

    `object_storage_address`: of the one that runs already, or where one can be started.
    """

    scheduler: RouterSocket
    monitor: PubSocket
    object_storage_address: Address

    def close(self) -> None:
        """Close both sockets."""
        self.scheduler.close()
        self.monitor.close()


def listen(context: "zmq.Context[zmq.Socket[bytes]]", config: SchedulerConfig) -> Listening:
    """Bind what the configuration says; raises `BindError`."""
    with contextlib.ExitStack() as unless_bound:
        monitor = None
        if config.monitor_address is not None:
            monitor = PubSocket(context, config.monitor_address)
            unless_bound.callback(monitor.close)
        attempts = _ATTEMPTS if config.scheduler_address.port == 0 else 1
        while True:
            scheduler = RouterSocket(context, config.scheduler_address)
            attempts -= 1
            try:
                listening = _beside(context, config, scheduler, monitor)
            except BindError:
                scheduler.close()
                if attempts == 0:
                    raise
                continue
            unless_bound.pop_all()
            return listening


def derived(base: Address, name: str, offset: int) -> Address:
    """Return the address beside a scheduler's: some ports on, or a path that ends on the name."""
    if base.port is None:
        return replace(base, host=f"{base.host}_{name}")
    if base.port + offset > MAX_PORT:
        raise BindError(f"cannot listen {offset} ports after {base}, for {name}: {MAX_PORT} is the last port")
    return base.with_port(base.port + offset)


def _beside(
    context: "zmq.Context[zmq.Socket[bytes]]",
    config: SchedulerConfig,
    scheduler: RouterSocket,
    monitor: PubSocket | None,
) -> Listening:
    storage = config.object_storage_address
    if storage is None:
        storage = derived(scheduler.address, "object_storage", 1)
        if config.scheduler_address.port == 0 and not can_bind(storage):  # else its own process will say so
            raise BindError(f"cannot listen on {storage}, for the object storage: the port is in use")
    return Listening(scheduler, monitor or PubSocket(context, derived(scheduler.address, "monitor", 2)), storage)
