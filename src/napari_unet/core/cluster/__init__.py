"""The tasks of a stack on many processes or machines; Dask is imported only when that is asked for."""

from napari_unet.core.cluster.clients import connect, local_client, trust_warning
from napari_unet.core.cluster.segmenting import segment_on_cluster

__all__ = ["connect", "local_client", "segment_on_cluster", "trust_warning"]
