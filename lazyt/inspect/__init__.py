"""Looking inside: `lazyt.explain`, `lazyt.stats`, `lazyt.dump` and `python -m lazyt.inspect`.

lazyt.explain(x), lazyt.explain(fn, *args)    IR, fusion, kernels and plan of a tensor or a call
lazyt.stats(), lazyt.reset_stats()            counters of what the compiler did
lazyt.dump(folder), LAZYT_DUMP=folder         every stage of every plan as files
python -m lazyt.inspect script.py args...     a script, and where its time went
"""

from __future__ import annotations

from .dump import dump as dump
from .explain import Explanation as Explanation
from .explain import explain as explain
from .report import Stats as Stats
from .report import reset_stats as reset_stats
from .report import stats as stats

__all__ = ["Explanation", "Stats", "dump", "explain", "reset_stats", "stats"]
