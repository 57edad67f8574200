"""Dialogs: the only things that lie over a screen."""
