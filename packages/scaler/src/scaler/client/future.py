"""`ScalerFuture`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.future import ScalerFuture

__all__ = ["ScalerFuture"]
