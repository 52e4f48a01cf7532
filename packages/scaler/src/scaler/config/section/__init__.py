"""Import paths of programs written for the reference: one module for each command's options."""
