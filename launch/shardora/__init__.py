"""The Python side of Shardora: data in, text in and out, reports, conversion of configurations. One command each."""
