"""A made-up head and the BIDS example data set built from it; not part of the installed package."""
