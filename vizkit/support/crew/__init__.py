"""Many tasks on one network or several: in this process, in processes of this machine, or on a cluster by Dask.

>>> from vizkit.support.crew import crew
>>> with crew() as team:
...     print(dict(team.run(lambda models, task: task + 1, {"a": 1, "b": 2})))
{'a': 2, 'b': 3}
"""

from .sending import Unsendable, dumps
from .team import Team, check, crew

__all__ = ["Team", "Unsendable", "check", "crew", "dumps"]
