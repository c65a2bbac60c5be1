"""The client library of Evanesce, on Trio."""
