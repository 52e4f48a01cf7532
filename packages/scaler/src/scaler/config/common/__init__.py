"""Import paths of programs written for the reference: groups of options."""
