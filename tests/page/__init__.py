"""The look of the page: its states, and a sheet of all of them."""
