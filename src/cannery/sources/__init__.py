"""Where models come from: a file, a folder, an MLflow registry, a fitted object."""
