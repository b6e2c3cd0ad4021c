"""What wengert costs, beside its peers: `eager.py` the engine, `compiled.py` the compiler."""
