"""The few layers that encoders and composers share, with PyTorch's initialisation and batch statistics."""
