"""The tests of all packages."""
