"""What is said of an image beside the image: its parts, how it was built, what was proven, and who signs."""
