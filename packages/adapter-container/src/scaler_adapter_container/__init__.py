"""The Scaler worker adapter that starts workers as containers of Docker or podman, on demand."""
