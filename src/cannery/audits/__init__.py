"""What opening a model file would do, found without opening it."""
