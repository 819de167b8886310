"""Cannery: from a trained model to a sealed image that scores."""
