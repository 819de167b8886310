"""Images composed without a daemon."""
