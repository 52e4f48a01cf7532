"""Import paths of programs written for the reference: schedulers and clusters."""
