"""From a cleared model to an artifact, with the proof that both answer alike."""
