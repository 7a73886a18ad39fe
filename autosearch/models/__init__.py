"""Networks: from a configuration, or from a user's ``build(hp)``, to a ``keras.Model``."""
