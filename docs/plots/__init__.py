"""Programs that draw the pictures of the documentation from real runs: `hatch run docs:plots`."""
