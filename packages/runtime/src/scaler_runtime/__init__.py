"""What every Scaler process stands on: sessions, transport, drivers, child processes, configuration, logging."""
