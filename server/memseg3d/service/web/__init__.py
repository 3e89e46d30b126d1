"""What a web server has to have and knows nothing of segmentation: TLS, headers, the form of the log."""
