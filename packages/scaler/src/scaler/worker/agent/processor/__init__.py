"""Import paths of programs written for the reference: the process that runs tasks."""
