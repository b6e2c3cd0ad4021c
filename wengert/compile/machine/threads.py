"""Threads of native code: parts of a heavy loop on the cores there are.

Threads are made for one loop and joined at its end, by the system's own calls: tens of microseconds where a loop takes
hundreds, and no pool that a fork, or the end of the process, could leave in a state that nobody expects. They touch no
Python object.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from wengert.compile.machine.code import Module

MOST: Final = 16

# The parts are dealt out in runs: thread t of n takes parts t·P/n to (t + 1)·P/n.
_TEXT: Final = f"""
@threads = global i64 1
%task = type {{ ptr, ptr, i64, i64 }}
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)

define internal ptr @worker(ptr %task) {{
entry:
  %function = load ptr, ptr %task
  %table.at = getelementptr %task, ptr %task, i64 0, i32 1
  %table = load ptr, ptr %table.at
  %first.at = getelementptr %task, ptr %task, i64 0, i32 2
  %first = load i64, ptr %first.at
  %end.at = getelementptr %task, ptr %task, i64 0, i32 3
  %end = load i64, ptr %end.at
  br label %check
check:
  %part = phi i64 [ %first, %entry ], [ %next, %run ]
  %more = icmp slt i64 %part, %end
  br i1 %more, label %run, label %done
run:
  call void %function(ptr %table, i64 %part)
  %next = add i64 %part, 1
  br label %check
done:
  ret ptr null
}}

define internal void @parallel(ptr %function, ptr %table, i64 %parts) {{
entry:
  %tasks = alloca [{MOST} x %task]
  %handles = alloca [{MOST} x i64]
  %made = alloca [{MOST} x i32]
  %n = load i64, ptr @threads
  br label %start
start:
  %t = phi i64 [ 0, %entry ], [ %t.next, %started ]
  %task = getelementptr [{MOST} x %task], ptr %tasks, i64 0, i64 %t
  %low = mul i64 %t, %parts
  %first = sdiv i64 %low, %n
  %t.next = add i64 %t, 1
  %high = mul i64 %t.next, %parts
  %end = sdiv i64 %high, %n
  store ptr %function, ptr %task
  %table.at = getelementptr %task, ptr %task, i64 0, i32 1
  store ptr %table, ptr %table.at
  %first.at = getelementptr %task, ptr %task, i64 0, i32 2
  store i64 %first, ptr %first.at
  %end.at = getelementptr %task, ptr %task, i64 0, i32 3
  store i64 %end, ptr %end.at
  %result.at = getelementptr [{MOST} x i32], ptr %made, i64 0, i64 %t
  store i32 1, ptr %result.at
  %is.own = icmp eq i64 %t, 0
  br i1 %is.own, label %started, label %create
create:
  %handle = getelementptr [{MOST} x i64], ptr %handles, i64 0, i64 %t
  %result = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %task)
  store i32 %result, ptr %result.at
  br label %started
started:
  %all = icmp eq i64 %t.next, %n
  br i1 %all, label %work, label %start
work:
  br label %finish
finish:
  ; a task whose thread could not be made, and the first, are run here
  %k = phi i64 [ 0, %work ], [ %k.next, %finished ]
  %own = getelementptr [{MOST} x %task], ptr %tasks, i64 0, i64 %k
  %status.at = getelementptr [{MOST} x i32], ptr %made, i64 0, i64 %k
  %status = load i32, ptr %status.at
  %k.next = add i64 %k, 1
  %runs = icmp eq i32 %status, 0
  br i1 %runs, label %join, label %here
here:
  %nothing = call ptr @worker(ptr %own)
  br label %finished
join:
  %thread.at = getelementptr [{MOST} x i64], ptr %handles, i64 0, i64 %k
  %thread = load i64, ptr %thread.at
  %joined = call i32 @pthread_join(i64 %thread, ptr null)
  br label %finished
finished:
  %last = icmp eq i64 %k.next, %n
  br i1 %last, label %leave, label %finish
leave:
  ret void
}}
"""


def declare(module: Module) -> None:
    """Enter `void parallel(ptr function, ptr table, i64 parts)`: function(table, part) for each part."""
    module.defined.add("parallel")
    module.declare(_TEXT)


def count() -> int:
    """How many threads a heavy loop gets: the cores that this process may use, or WENGERT_THREADS."""
    if sys.platform == "win32":
        return 1  # no pthreads
    asked = os.environ.get("WENGERT_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return min(int(asked), MOST)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST)
