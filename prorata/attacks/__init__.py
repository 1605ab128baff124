"""Every known way to take what is not one's own, tried on the compiled contracts.

`attack` says what an attack is, `world` where it happens, `search` how its best parameters are found and what is
reported; all other modules are the catalogue, one family each. `catalogue` lists them.
"""
