"""Programs that people would really run, each in one command: `python -m examples.<name>`."""
