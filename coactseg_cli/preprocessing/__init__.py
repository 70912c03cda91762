"""Geometry, then intensities: from raw scans to one grid per participant."""
