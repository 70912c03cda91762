"""What `group` makes of output folders of segment: rows, statistics, a page. Reads tables and sidecars; runs no network."""
