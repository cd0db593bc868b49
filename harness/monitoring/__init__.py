"""The monitoring: its parts in the cluster, the dashboard, the alert rules, and what they say."""
