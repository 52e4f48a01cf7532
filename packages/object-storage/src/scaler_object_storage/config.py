"""The options of `scaler_object_storage_server`."""

from dataclasses import dataclass
from typing import Annotated

from scaler_protocol.addresses import Address
from scaler_runtime.config import Option, Options


@dataclass(frozen=True)
class ObjectStorageConfig(Options):
    """Keeps large functions, arguments and results for clients and workers.

    They lie in /dev/shm. When they take more than SCALER_OBJECT_STORAGE_MEMORY (such as 8G; by default three quarters
    of /dev/shm), those that were not used for the longest time go to the folder SCALER_OBJECT_STORAGE_DISK (by default
    /var/tmp; empty: none), where they are found as before.
    """

    object_storage_address: Annotated[Address, Option("where to listen; port 0: any free one", positional=True)]
