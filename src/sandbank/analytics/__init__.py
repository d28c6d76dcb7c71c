"""What sandboxes used and logged, as it is read: questions to the stores, and rules that all readers share. Nodes write it, elsewhere."""
