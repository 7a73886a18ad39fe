"""The engine: samplers behind ask and tell, the worker's loop, and its supervisor."""
