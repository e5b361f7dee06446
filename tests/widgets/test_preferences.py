import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_unet.session.settings import DEVICES
from napari_unet.widgets.preferences import Preferences, preferences


@pytest.fixture
def plugin(plugin_settings, npe2pm):
    manifest = PluginManifest.from_distribution("napari-unet")
    npe2pm.register(manifest)
    return manifest


def test_the_manifest_and_the_code_agree_on_the_defaults(plugin):
    assert preferences() == Preferences()


def test_what_the_user_sets_is_read(plugin):
    training = get_plugin_settings("napari-unet").training
    training.device, training.threads, training.preview_seconds = "cpu", 3, 2.5
    assert preferences() == Preferences("cpu", 3, 2.5)


def test_what_makes_no_sense_cannot_be_set(plugin):
    training = get_plugin_settings("napari-unet").training
    for name, value in (("device", "abacus"), ("threads", -1), ("preview_seconds", -1.0)):
        with pytest.raises(ValueError, match=name):
            setattr(training, name, value)


def test_every_device_can_be_chosen(plugin):
    device = plugin.contributions.configurations["training"].properties["device"]
    assert device.enum == list(DEVICES)


def test_without_the_plugin_the_defaults_hold(plugin_settings):
    assert preferences() == Preferences()
