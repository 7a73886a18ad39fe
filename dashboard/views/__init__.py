"""The pages: each reads, filters and draws."""
