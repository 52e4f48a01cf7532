"""The Scaler worker adapter that keeps a fixed number of workers on its own machine."""
