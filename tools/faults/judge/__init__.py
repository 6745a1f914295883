"""The judge: checkers of what writers did and learned, of the final rows, and of the pools."""
