"""Encoded images to arrays."""
