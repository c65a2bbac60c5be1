"""A World of one's own, for staging and tests: what it proves is true in this simulation alone.

General layout, in the order of a proof's way: a page asks through the `bridge` (encrypted: `envelope`); a person's
`phone` takes the request, reads it (`asked`), and has the `world` check and prove it (`proofs`, of numbers that
`derive` makes); the `portal` verifies it, reading what it is sent by `verification`, or fails in one of the `faults`.
`control` is what tests and staging ask of it over HTTP, `page` what a person sees; `server` serves all of it, and
`command` is `evanesce worldid-simulator`.
"""
