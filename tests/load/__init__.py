"""Many clients and workers, while some come and go. By command: `python -m tests.load --minutes 10`."""
