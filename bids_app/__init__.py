"""BIDS files, names, tables and pages; imports no torch, ants, typer or coactseg_cli."""
