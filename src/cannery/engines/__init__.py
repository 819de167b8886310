"""Docker, Podman, or a sandbox of our own: the one door that starts containers."""
