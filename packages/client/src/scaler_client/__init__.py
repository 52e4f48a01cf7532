"""The client of Scaler: submit functions, get futures."""
