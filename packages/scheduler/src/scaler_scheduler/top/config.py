"""The options of `scaler_top`."""

from dataclasses import dataclass
from typing import Annotated

from scaler_protocol.addresses import Address
from scaler_runtime.config import Option, Options, at_least
from scaler_runtime.options import CONNECTABLE


@dataclass(frozen=True)
class TopConfig(Options):
    """Shows what a scheduler and its workers do: live in a terminal, else a table a second.

    In a terminal the keys in brackets sort the workers, the same key again reverses, and q ends it.
    """

    monitor_address: Annotated[
        Address,
        Option("monitor of a scheduler, from its line `monitor listening on`", positional=True, allowed=CONNECTABLE),
    ]
    timeout: Annotated[int, Option("end after so many seconds without a message", "-t", at_least(1))] = 5
