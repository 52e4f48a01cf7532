"""State without IO: what the server keeps, and what a connector waits for."""
