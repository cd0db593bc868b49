"""The private copy of the deployment: boot, releases, state and teardown."""
