"""The whole product as its users meet it: `sandbank up`, then the official SDKs, unmodified, of pinned versions.

Nothing is faked and nothing of `sandbank` is imported. Every test asserts what a client can see. Tests share a sandbox per module where
one does not change what another sees; what kills or times out a sandbox makes its own.
"""
