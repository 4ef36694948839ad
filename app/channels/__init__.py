"""The ways to reach people: one file, one line."""
