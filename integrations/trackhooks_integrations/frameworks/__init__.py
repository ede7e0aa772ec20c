"""Integrations of training frameworks."""
