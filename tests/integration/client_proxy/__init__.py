"""Client proxies over real sockets, with real nodes and APIs behind them."""
