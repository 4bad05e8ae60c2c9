"""What is wrong with the images of a data set, before anything is trained on them."""
