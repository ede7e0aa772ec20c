"""The thin core: the hook vocabulary, the registry of callbacks, and how hooks are fired."""
