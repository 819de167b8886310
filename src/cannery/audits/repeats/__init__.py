"""Values of a pickle that are like the one before, told at once: `following` is where to begin to read."""
