"""The plugins that come with Evanesce: ways to sign in, and where what lasts is kept."""
