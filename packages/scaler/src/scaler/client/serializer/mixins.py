"""`Serializer`, the base of serializers."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.serializer import Serializer

__all__ = ["Serializer"]
