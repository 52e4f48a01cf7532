"""A whole Scaler under a virtual clock: real cores, real sessions, everything else pretended; faults by seed."""
