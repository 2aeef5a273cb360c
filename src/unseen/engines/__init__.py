"""Where the shards of a run are made: in this process, one process a GPU, or on a Ray cluster.

A `Work` goes in, and its shards are made; what a shard is, is the work's business. `engine` has the
options and carries the work out, `pool` gives shards to workers, `local` and `ray_workers` are the
two kinds of workers, `machines` lists where they ran.
"""
