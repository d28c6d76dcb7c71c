"""What Python's default context has done before the first cell, so that the template's memory snapshot has it."""

from __future__ import annotations

FIRST_IMPORTS = ("json", "math", "datetime", "numpy", "pandas", "matplotlib.pyplot", "requests")

WARM_UP = f"""
def _warm_up():
    import gc, importlib
    for name in {FIRST_IMPORTS!r}:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    try:
        import matplotlib.pyplot as plt
        figure, axes = plt.subplots()
        axes.plot([1, 2], [1, 2], label="a")
        axes.set_title("a")
        get_ipython().display_formatter.format(figure)
        plt.close(figure)
    except ImportError:
        pass
    gc.collect()
    gc.freeze()
_warm_up()
del _warm_up
"""
