"""The services, one package each; they share the library in `shared` and nothing else."""

import sys

if not {"structlog", "rich"} & sys.modules.keys():
    # structlog imports rich where it is installed, for tracebacks in colour that no service prints:
    # 4 MB of each process. The operator, who shows tables with rich, imports it afterwards.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
