"""What integrations of training frameworks build on."""
