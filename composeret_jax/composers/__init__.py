"""Composers: an image feature and a text feature in, the feature of the image that the text asks for out. One file each."""
