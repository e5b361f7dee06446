"""What napari's preferences say about this plugin, as a plain value."""

from dataclasses import dataclass

from napari.settings import get_plugin_settings

from napari_unet.session.settings import Device


@dataclass(frozen=True)
class Preferences:
    """The defaults of the manifest; 0 leaves threads and previews to the session."""

    device: Device = "auto"
    threads: int = 0
    preview_seconds: float = 0.0


def preferences() -> Preferences:
    """Read what the user set under Preferences > napari-unet."""
    try:
        training = get_plugin_settings("napari-unet").training
    except KeyError:  # a script made the dock while the plugin is switched off
        return Preferences()
    return Preferences(training.device, training.threads, training.preview_seconds)
