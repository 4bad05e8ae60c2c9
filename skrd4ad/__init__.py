"""SK-RD4AD Studio: skip-connected reverse distillation for one-class anomaly detection.

An image goes one way through the package, from file to verdict::

    data → models → anomaly_map → model_folder → inference → services → ui, cli
"""

__version__ = "0.1.0"
