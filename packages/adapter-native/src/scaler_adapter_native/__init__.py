"""The Scaler worker adapter that starts worker processes on its own machine, on demand."""
