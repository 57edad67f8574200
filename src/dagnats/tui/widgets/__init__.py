"""The only widgets: a canvas that repaints what changed; a list, a log and a text made of it."""
