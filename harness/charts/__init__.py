"""The JupyterHub chart, and Helm, which renders and installs it."""
