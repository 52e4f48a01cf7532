"""The scheduler of Scaler: accepts tasks, assigns them to workers, decides scaling."""
