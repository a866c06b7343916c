"""OpenLineage: what a run built, of what, told to whoever collects lineage. No run waits for that or fails by it."""
