"""From files to labelled samples and tensors."""
