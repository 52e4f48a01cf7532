"""One adapter for each set of units: two that find theirs by the same mark would end each other's."""

import errno
import socket

from scaler_runtime.program import ProgramError


def alone(name: str, refusal: str) -> socket.socket:
    """Hold a name on this machine as long as this process lives; `ProgramError` says `refusal` where it is held."""
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0{name}")
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise ProgramError(refusal) from error
    return holder
