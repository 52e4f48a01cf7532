"""`DefaultSerializer`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.serializer import DefaultSerializer

__all__ = ["DefaultSerializer"]
