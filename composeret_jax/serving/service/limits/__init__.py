"""What bounds the work that strangers can cause."""
