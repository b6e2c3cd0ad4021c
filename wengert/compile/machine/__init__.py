"""Machine code: LLVM IR as text, and llvmlite, which makes code of it."""
