"""The base of all other packages, with no knowledge of JupyterHub."""
