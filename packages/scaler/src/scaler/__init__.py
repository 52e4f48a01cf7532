"""Distributed computing with workers on demand: the facade `from scaler import Client`."""
