"""``jouleprune bench``: the library's modules against torch's dense layers and other libraries, on this machine.

What makes the numbers honest: every candidate's result is compared with double precision before it is timed; all are
timed in turn in one run, in an order that rotates; ratios are of pairs from one round, with the 95 % interval; samples
that another program disturbed are dropped and counted; the process is pinned, and malloc keeps its memory for all.

From Python: ``jouleprune.bench.command.report_of(Options(("linear",)))``.
"""
