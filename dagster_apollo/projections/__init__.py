"""Files that follow from what is declared: written by `make generated`, re-derived by a test, edited by nobody."""
