"""Network policies at work: what enforces them, and who reaches what.

addon       what enforces them, as objects of the cluster, and the pods by which that is shown
node_rules  the part of it that is in each node
probe       who reaches what; in_pod is the program that runs in a pod or a kernel
"""
