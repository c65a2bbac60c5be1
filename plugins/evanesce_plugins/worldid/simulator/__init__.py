"""A simulator of World, for staging and tests. Its proofs are valid in this simulation alone.

General layout, in the order of a proof's way: a page leaves an encrypted request at the `bridge`; a person's `phone`
takes and parses it (`idkit` has the requests and results of IDKit), and has the `world` check it and make `proofs`; the
`portal` verifies them, by `verification`, or fails on demand. `control` is an HTTP API for tests and staging, and
`page` is the form for people; `responses` are HTTP responses; `server` serves all of it, and `command` is the command
`evanesce worldid-simulator`.
"""
