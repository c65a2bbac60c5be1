"""Background jobs that every server runs: clean-up, reconciliation, activity, and checks of what servers share."""
