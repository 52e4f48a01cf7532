"""Conversations with the scheduler as text: tests, and documentation of what is said when."""
