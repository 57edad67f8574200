"""Workers that the configuration defines: a command or a web address per task type."""
