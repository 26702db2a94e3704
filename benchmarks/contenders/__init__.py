"""One module for each library: the same bank in each, written as the library's own documentation shows it."""
