"""CLIP's, SigLIP's and DINOv2's towers: folders as transformers writes them."""
