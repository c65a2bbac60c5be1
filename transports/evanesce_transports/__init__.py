"""How frames travel between Evanesce and its clients."""
