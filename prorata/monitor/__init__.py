"""A page that shows one market as its blocks arrive: `ape run monitor`.

`snapshot` reads the market as it is after a block, `curve` its losses at a grid of prices, `activity` its events.
`watcher` does so block by block, through outages of the node and chains that went back; `payload` puts what it found
into JSON, `server` hands that to the page beside it.
"""
