"""Measure objects: a table with a row for each; images are read in blocks and need not fit in memory."""

from napari_unet.core.measuring.columns import Table
from napari_unet.core.measuring.files import check_table_path, write_table
from napari_unet.core.measuring.measure import MeasureUpdate, measure_objects

__all__ = ["MeasureUpdate", "Table", "check_table_path", "measure_objects", "write_table"]
