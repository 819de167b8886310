"""What lives inside an image: the scorer, the service, and how both are started."""
