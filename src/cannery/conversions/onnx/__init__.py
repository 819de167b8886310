"""Exact ONNX graphs from fitted scikit-learn estimators."""
