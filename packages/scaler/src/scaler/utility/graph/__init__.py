"""Import paths of programs written for the reference: graphs."""
