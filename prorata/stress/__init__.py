"""Stress at scale: thousands of markets on the compiled contracts, and the risk figures that come of them."""
