"""`ObjectReference`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.object_reference import ObjectReference

__all__ = ["ObjectReference"]
