"""prorata: a perpetual futures market that is always solvent, and the tools to check that it is."""
