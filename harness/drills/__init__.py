"""Drills: regressions and valid changes, planted one by one to prove that the suite tells them apart."""
