"""A page for interactive retrieval: a person shows an image, says what should differ, looks, and says more."""
