"""HTTP/2 in front of the proxies, and behind them for gRPC (contract data-plane §7). The frames are `h2`'s; bounds and rules are ours."""
