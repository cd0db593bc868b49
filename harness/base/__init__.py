"""What every other package stands on, with no knowledge of JupyterHub."""
