"""The evaluator: run by an environment that was built for a checkout, it imports nothing of the harness.

`python -m inside REQUEST` reads a request, evaluates, and writes the answer. All that the owners' code asks of the
world is answered here or refused.
"""
