"""What of a graph is needed."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.graph import cull_graph

__all__ = ["cull_graph"]
