"""Composers, one a file: image feature and text feature in, feature of the image that the text asks for out."""
