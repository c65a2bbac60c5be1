"""Sessions: the gateway for transports, and for each connection the way from a frame to a request or a call."""
