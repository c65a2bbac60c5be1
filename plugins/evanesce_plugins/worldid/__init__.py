"""The plugin `worldid`: sign-in with World ID, one human, one account."""
