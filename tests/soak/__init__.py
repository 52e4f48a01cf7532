"""Real processes that die at any moment while work goes on. By command: `python -m tests.soak --minutes 30`."""
