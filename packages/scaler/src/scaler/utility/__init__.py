"""Import paths of programs written for the reference: exceptions, ports, logging."""
