"""The parts of the screen of all runs."""
