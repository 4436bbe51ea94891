"""Measurements that the documentation quotes, each a command of its own."""
