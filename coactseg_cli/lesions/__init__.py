"""What is said about single lesions."""
