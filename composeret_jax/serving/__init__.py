"""Search without training code: a bundle answers images and texts, an index holds a gallery, a page serves both."""
