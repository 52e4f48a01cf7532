"""The workers of Scaler: the process that runs tasks, its host, and the zygote that forks it."""
