"""Import paths of programs written for the reference: exceptions, graphs, logging, ports."""
