"""Bodies written by hand, so that the entry is tested without the rest of the compiler."""

from collections.abc import Sequence

import numpy as np

from wengert.compile.entry.spec import Leaf

TYPES = {
    "b1": "i8", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64", "u1": "i8", "u2": "i16", "u4": "i32", "u8": "i64",
    "f4": "float", "f8": "double", "c8": "float", "c16": "double",
}  # fmt: skip


def affine(leaves: Sequence[Leaf], before: str = "", extra: str = "") -> str:
    """The body that gives 2x + 1 of each input, part by part where it is complex, and `not x` where it is a bool.

    `before` is code at its beginning, `extra` text of the module.
    """
    blocks = [before] if before else []
    for leaf in leaves:
        k, dtype = leaf.number, leaf.dtype
        kind = TYPES[f"{dtype.kind}{dtype.itemsize}"]
        count = leaf.nbytes // dtype.itemsize * (2 if dtype.kind == "c" else 1)
        if dtype.kind == "b":
            work = f"%z{k} = xor i8 %x{k}, 1"
        elif dtype.kind in "fc":
            work = f"%y{k} = fmul {kind} %x{k}, 2.0\n  %z{k} = fadd {kind} %y{k}, 1.0"
        else:
            work = f"%y{k} = mul {kind} %x{k}, 2\n  %z{k} = add {kind} %y{k}, 1"
        blocks.append(f"""
  br label %head{k}
head{k}:
  %in.at{k} = getelementptr ptr, ptr %ins, i64 {k}
  %in{k} = load ptr, ptr %in.at{k}
  %out.at{k} = getelementptr ptr, ptr %outs, i64 {k}
  %out{k} = load ptr, ptr %out.at{k}
  br label %test{k}
test{k}:
  %i{k} = phi i64 [ 0, %head{k} ], [ %j{k}, %loop{k} ]
  %more{k} = icmp ult i64 %i{k}, {count}
  br i1 %more{k}, label %loop{k}, label %done{k}
loop{k}:
  %from{k} = getelementptr {kind}, ptr %in{k}, i64 %i{k}
  %x{k} = load {kind}, ptr %from{k}
  {work}
  %to{k} = getelementptr {kind}, ptr %out{k}, i64 %i{k}
  store {kind} %z{k}, ptr %to{k}
  %j{k} = add i64 %i{k}, 1
  br label %test{k}
done{k}:""")
    text = "\n".join(blocks) or "start:"
    return f"{extra}\ndefine internal i32 @body(ptr %ins, ptr %outs) {{\n{text}\n  ret i32 0\n}}\n"


def expected(x: object) -> object:
    """What `affine` makes of one value."""
    if type(x) is bool:
        return not x
    array = np.asarray(x)
    if array.dtype.kind == "b":
        found = ~array
    elif array.dtype.kind == "c":
        found = 2 * array + array.dtype.type(1 + 1j)
    else:
        found = (2 * array + array.dtype.type(1)).astype(array.dtype)
    found = np.asarray(found)
    if isinstance(x, np.ndarray):
        return found
    return found.item() if type(x) in (int, float, complex) else found[()]
