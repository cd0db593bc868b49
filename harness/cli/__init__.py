"""Commands that a person runs outside pytest: `tox -e up`, `down`, `runs`, `bench` and `drills`."""
