"""The bundle: a folder that holds a promoted model, how to use it, and how to check it."""
