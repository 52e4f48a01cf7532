"""Import paths of programs written for the reference: types of options."""
