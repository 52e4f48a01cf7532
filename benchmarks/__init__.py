"""Scaler measured beside others in the same run: ratios count, absolute times depend on the machine and its load."""
