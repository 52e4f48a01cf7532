"""The options of `scaler_object_storage_server`."""

from dataclasses import dataclass
from typing import Annotated

from scaler_protocol.addresses import Address
from scaler_runtime.config import Option, Options


@dataclass(frozen=True)
class ObjectStorageConfig(Options):
    """Keeps large functions, arguments and results for clients and workers."""

    object_storage_address: Annotated[Address, Option("where to listen; port 0: any free one", positional=True)]
