"""One `.safetensors` file holds a model: its weights, and a JSON header that rebuilds everything else."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from napari_unet.core.decoding import decode_fields
from napari_unet.core.networks import ARCHITECTURES, Network, build_network
from napari_unet.core.networks.unet import UNetConfig
from napari_unet.core.normalise import METHODS
from napari_unet.core.objects import ObjectRules
from napari_unet.core.targets import ClassLabel, Task

FORMAT = "napari-unet-model"
FORMAT_VERSION = 2
MAX_HEADER_BYTES = 4 * 2**20
REMEDY = "choose a file that `napari-unet train` wrote, or copy it again"
DTYPES = {torch.float32: "F32", torch.int64: "I64"}

JSON = Union[str, int, float, bool, None, Sequence["JSON"], Mapping[str, "JSON"]]  # noqa: UP007 (recursive)
Header = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and what is needed to use it on other images.

    Parameters
    ----------
    network : UNet or EncoderNetwork
        One of `napari_unet.core.networks`.
    architecture : str
        Its name there.
    task : {"classes", "objects"}
        What it was trained to tell apart.
    classes : tuple of ClassLabel
        One per channel of the logits, in their order.
    axes : {"YX", "ZYX"}
        Spatial axes, one per spatial axis of the network.
    spacing : tuple of float
        Voxel size of each axis in the training images.
    unit : str
        Unit of `spacing`.
    channels : tuple of str
        Names of the image's channels, "" where unknown.
    normalisation : {"percentile", "percentile-asinh"}
        How intensities are brought to a common scale.
    training : mapping of str to JSON
        How it was trained: finite numbers, strings, lists and mappings.
    package_version : str
        Version of napari-unet that trained it.
    objects : ObjectRules, optional
        How objects are found in what it says; None where it has not been found out.

    Raises
    ------
    ValueError
        If the values do not fit each other, the network or a JSON header.
    """

    network: Network
    architecture: str
    task: Task
    classes: tuple[ClassLabel, ...]
    axes: str
    spacing: tuple[float, ...]
    unit: str
    channels: tuple[str, ...]
    normalisation: str
    training: Mapping[str, JSON]
    package_version: str
    objects: ObjectRules | None = None

    def __post_init__(self) -> None:
        config = self.network.config
        fits = {
            "architecture": self.architecture in ARCHITECTURES,
            "task": self.task in get_args(Task),
            "classes": len(self.classes) == config.n_classes and all(map(_is_class, self.classes)),
            "axes": len(self.axes) == config.ndim and self.axes in ("YX", "ZYX"),
            "spacing": len(self.spacing) == config.ndim and all(map(_is_size, self.spacing)),
            "channels": len(self.channels) == config.in_channels,
            "normalisation": self.normalisation in METHODS,
            "objects": self.objects is None or len(self.objects.reach) in (0, config.ndim),
        }
        for name, good in fits.items():
            if not good:
                raise ValueError(f"{name} is {getattr(self, name)!r}: that does not fit a model of {config}")
        _header_text(self)  # fails here rather than after the training, if something is not JSON


def save_model(model: Model, path: str | PathLike[str], overwrite: bool = False) -> None:
    """Write a model under a temporary name, then rename: the file is whole or not there.

    Parameters
    ----------
    model : Model
        What to save; the same model always gives the same bytes.
    path : path-like
        Usually ends in ".safetensors".
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and may not be replaced.
    OSError
        If it cannot be written; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> model = Model(build_network("unet", UNetConfig(width=4, depth=1)), "unet", "classes",
    ...               (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus")), "YX", (1.0, 1.0),
    ...               "pixel", ("",), "percentile", {"steps": 0}, "0.1.0")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, f"{folder}/nuclei.safetensors")
    ...     load_model(f"{folder}/nuclei.safetensors").classes[1].name
    'nucleus'
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name or replace it with --overwrite")
    data = _serialise(model)
    with _replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_model(path: str | PathLike[str], device: str | torch.device = "cpu") -> Model:
    """Read a model; what the file claims is checked before memory is taken for it.

    Parameters
    ----------
    path : path-like
        File written by `save_model`.
    device : str or torch.device, optional
        Where the weights go.

    Returns
    -------
    Model
        With its network in evaluation mode.

    Raises
    ------
    ValueError
        If the file is not a model, is damaged, or is of a newer format.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with _explaining(path):
        model = _read_empty(path)
        model.network.load_state_dict(load(path.read_bytes()), assign=True)
    model.network.eval().to(device)
    return model


def read_header(path: str | PathLike[str]) -> dict[str, JSON]:
    """Return what a model file says about its model, without reading the weights.

    Parameters
    ----------
    path : path-like
        File written by `save_model`.

    Returns
    -------
    dict
        The JSON header, checked; ``docs/file-format.md`` describes its fields.

    Raises
    ------
    ValueError
        If the file is not a model, is damaged, or is of a newer format.
    OSError
        If it cannot be read.
    """
    with _explaining(Path(path)):
        return _header(_read_empty(Path(path)))


def model_hash(model: Model) -> str:
    """Return the SHA-256 of the model's file, in hexadecimal."""
    return hashlib.sha256(_serialise(model)).hexdigest()


def _serialise(model: Model) -> bytes:
    weights = {name: value.cpu().contiguous() for name, value in model.network.state_dict().items()}
    # one key, because safetensors does not promise an order of several
    return save(weights, metadata={FORMAT: _header_text(model)})


def _header_text(model: Model) -> str:
    text = json.dumps(_header(model), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode().decode()  # a lone surrogate is no text


def _header(model: Model) -> Header:
    plain = {field.name: getattr(model, field.name) for field in fields(model) if field.name != "network"}
    plain["classes"] = [asdict(label) for label in model.classes]
    plain["training"] = dict(model.training)
    plain["objects"] = None if model.objects is None else asdict(model.objects)
    return {**plain, "format_version": FORMAT_VERSION, "config": asdict(model.network.config)}


def _read_empty(path: Path) -> Model:
    """Read and check everything but the weights; the network takes no memory yet."""
    table, data_size = _read_table(path)
    metadata = table.pop("__metadata__", None)
    header = metadata.get(FORMAT) if isinstance(metadata, dict) else None
    if not isinstance(header, str):
        raise ValueError(f"it is not from napari-unet, so {REMEDY}")
    model = _decode_model(_parse(header))
    _check_table(table, model.network, data_size)
    return model


def _read_table(path: Path) -> tuple[dict[str, JSON], int]:
    """Read the JSON of a .safetensors file, and the number of bytes behind it."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise ValueError(f"it is not a whole .safetensors file, so {REMEDY}")
        table = _parse(file.read(length))
    return table, size - 8 - length


def _parse(text: str | bytes) -> dict[str, JSON]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"its header is not a JSON object, so {REMEDY}")
    return value


def _check_table(table: Mapping[str, JSON], network: Network, data_size: int) -> None:
    """Compare the tensors that the file claims with those of the network, and with its size."""
    tensors = network.state_dict()
    for name, tensor in tensors.items():
        entry = table.get(name)
        claimed = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else None
        if claimed != (DTYPES[tensor.dtype], list(tensor.shape)):
            raise ValueError(f"its weight {name} is not that of the network, so {REMEDY}")
    if table.keys() != tensors.keys():
        raise ValueError(f"it holds weights that the network lacks, so {REMEDY}")
    expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if expected != data_size:
        raise ValueError(f"it holds {data_size} bytes of weights instead of {expected}, so {REMEDY}")


def _decode_model(header: dict[str, JSON]) -> Model:
    version = header.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValueError(
            f"its format is {version} and this one reads {FORMAT_VERSION}, so update napari-unet"
        )
    if type(version) is int and version == 1:  # which had no rules of objects
        header = {**header, "format_version": FORMAT_VERSION, "objects": None}
    hints = {**get_type_hints(Model), "format_version": Literal[FORMAT_VERSION], "config": UNetConfig}
    del hints["network"]
    try:
        values = decode_fields(header, hints, "header")
    except ValueError as error:
        raise ValueError(f"{error}, so {REMEDY}") from error
    del values["format_version"]
    with torch.device("meta"):
        return Model(network=build_network(values["architecture"], values.pop("config")), **values)


def _is_class(label: ClassLabel) -> bool:
    return label.annotation_value >= 1 and label.output_value >= 0


def _is_size(value: float) -> bool:
    return 0 < value < float("inf")


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Say in one sentence which file cannot be read, and why."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist: check the path of the model") from error
    except OSError as error:
        raise type(error)(f"{path} cannot be read as a model ({error.strerror}): {REMEDY}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not a usable model: its header is nested too deeply") from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path} is not a usable model: {error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name that becomes the final one only if all goes well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = (
            f"{path} cannot be written ({error.strerror}): choose a folder that has room and can be written"
        )
        raise type(error)(reason) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()
