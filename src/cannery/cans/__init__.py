"""The sealed model package."""
