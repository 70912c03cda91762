"""Lesion metrics with exact definitions; arrays and spacings in, numbers out."""
