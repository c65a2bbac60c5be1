"""Sessions: who is connected, who they are, and what they may ask for; the gateway that transports talk to."""
