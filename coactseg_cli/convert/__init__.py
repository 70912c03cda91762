"""Foreign layouts of lesion data to BIDS with labels: `python -m coactseg_cli.convert`. Loads neither torch nor ants."""
