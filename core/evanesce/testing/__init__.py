"""The testing kit: parts that keep the contracts of `evanesce.interfaces` and `evanesce.store` in memory."""
