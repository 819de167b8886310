"""The one door through which a pickle is opened: a worker in a sandbox."""
