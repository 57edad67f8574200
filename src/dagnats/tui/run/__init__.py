"""One run on the screen: its steps as rail and timeline, its events, its past, what can be done."""
