"""The monitoring: its parts in the cluster, the dashboard, the alert rules, and what they say.

addon       its parts, as objects of the cluster; in_receiver is the program of one of them
client      the running monitoring: queries, targets, alerts
panels      the panels, of which dashboard makes the file for Grafana, and graphs what they showed over a time
rules       our alert rules, as written and with their times divided
owners      the owners' alert rules, read and evaluated as Grafana does it
"""
