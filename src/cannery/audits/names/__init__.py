"""The allow-lists, as data: one table for each library."""
