"""Bytes as a network, or somebody who means harm, may send them. By command: `python -m tests.fuzz --minutes 10`."""
