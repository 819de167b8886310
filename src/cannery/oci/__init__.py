"""The formats and the transport of the OCI specifications; knows no models."""
