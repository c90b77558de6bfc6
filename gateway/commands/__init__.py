"""Commands that are the gateway's own, one file each; breakeven.py registers them. Only typer is imported when a command is registered."""
