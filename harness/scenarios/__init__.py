"""Longer scenarios that several tests look at: a class that arrives, servers under the culler, users who leave."""
