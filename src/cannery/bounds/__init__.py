"""What compiled code follows without looking: the numbers of a model that must point somewhere."""
