"""The documentation: its pages, what Sphinx needs to build them, and the programs that draw its pictures."""
