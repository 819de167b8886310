"""What runs an image on a cluster: documents for Kubernetes and KServe."""
