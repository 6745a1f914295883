"""The judge: checkers of what writers did and were told, of the final rows, and of the pools."""
