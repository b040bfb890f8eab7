"""connector.core.registry: what is found where, what is loaded when, and what a broken platform costs."""

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from connector.core.platform import Platform, PlatformFacts
from connector.core.registry import BrokenPlatform, PlatformRegistry, find_platforms
from tests.support.platforms import LEFT_OUT
from tests.support.rows import each_row
from tests.support.third_party import ROOT, STORES, THIRD_PARTY, install, python

BUILT_IN = sorted(file.parent.name for file in (ROOT / "platforms").glob("*/__init__.py"))


@pytest.fixture
def installed(tmp_path):
    return partial(install, tmp_path)


@pytest.mark.processes
def test_the_built_in_platforms_are_found_where_nothing_is_installed(tmp_path):
    """As on a PaaS: the source tree and requirements.txt, no metadata of this project."""
    for package in ("connector", "platforms"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    code = (
        "from importlib.metadata import entry_points\n"
        "from connector.core.registry import installed_platforms as all\n"
        "import connector\n"
        "metadata = [each.name for each in entry_points(group='connector.platforms')]\n"
        "print(json.dumps([metadata, list(all()), [each.title for each in all().values()], connector.__file__]))"
    )
    # Without the editable install of this very project: its finder and its metadata are reached by .pth files only.
    clean = tmp_path / "libraries"
    clean.mkdir()
    for library in libraries:
        for entry in Path(library).iterdir():
            if "tiktok_shop_connector" not in entry.name and entry.suffix != ".pth":
                (clean / entry.name).symlink_to(entry)
    metadata, names, titles, file = python(code, cwd=tmp_path, path=[tmp_path, clean], options=["-S"])
    assert metadata == []
    assert names == BUILT_IN
    assert {"Shopify", "WooCommerce"} <= set(titles)
    assert file.startswith(str(tmp_path))


@pytest.mark.processes
def test_a_third_partys_platform_is_found_by_its_entry_point(installed):
    """It can be chosen in the stores file, and its facts count."""
    folder = installed(THIRD_PARTY)
    code = (
        "from connector.core.registry import installed_platforms as all\n"
        "from connector.config.settings import load\n"
        f"config = load({{'SECRET': 'shh', 'STORES_TOML': {STORES.replace('api =', '# api =')!r}}})\n"
        "print(json.dumps([list(all()), all()['myshop'].title, config.stores['other'].mapping.content_id]))"
    )
    assert python(code, path=[folder]) == [sorted(["myshop", *BUILT_IN]), "MyShop", "sku"]


@pytest.mark.processes
def test_finding_and_help_load_no_platform(installed):
    """Names are read from metadata and folders."""
    folder = installed("raise RuntimeError('not to be imported')")
    code = (
        "from click.testing import CliRunner\n"
        "from connector.cli.main import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "assert 'connector.core.registry' not in sys.modules\n"
        "from connector.core.registry import installed_platforms as all\n"
        f"assert 'myshop' in all() and len(all()) == {1 + len(BUILT_IN)}\n"
        "print(json.dumps([each for each in sys.modules if each.startswith(('platforms', 'myshop'))]))"
    )
    assert python(code, path=[folder]) == []


@pytest.mark.processes
def test_a_broken_platform_costs_only_its_own_stores(installed, tmp_path):
    """The configuration is loaded, `check` says why, its webhooks are answered 503, and other stores go on."""
    folder = installed("raise RuntimeError('half installed')")
    code = (
        "from connector.config.settings import load\n"
        "from connector.core.registry import installed_platforms as all\n"
        "from connector.devtools.check import check\n"
        "from connector.storage.database import Database\n"
        "from connector.storage.engine import connect, migrate\n"
        "from tests.support.web import client_of\n"
        f"url = 'sqlite:///{tmp_path}/broken.db'\n"
        f"config = load({{'SECRET': 'shh', 'DATABASE_URL': url, 'STORES_TOML': {STORES!r}}})\n"
        "told = [each.text for each in check(config, live=False) if each.text.startswith('store other')]\n"
        "engine = connect(url)\n"
        "migrate(engine)\n"
        "client = client_of(config, Database(engine), all())\n"
        "headers = all()['shopify'].signed_headers(b'{}', 'shh') | {'X-Shopify-Topic': 'products/update'}\n"
        "fine = client.post('/webhooks/acme', data=b'{}', headers=headers)\n"
        "broken = client.post('/webhooks/other', data=b'{}')\n"
        "counted = [line for line in client.get('/metrics').text.splitlines() if 'store=\"other\"' in line]\n"
        "print(json.dumps([told, fine.status_code, broken.status_code, 'Retry-After' in broken.headers,"
        " broken.json, [line for line in counted if line.startswith('connector_webhooks_received_total')]]))"
    )
    told, fine, broken, retry, body, counted = python(code, path=[folder])
    why = "platform myshop (myshop:platform) cannot be loaded: RuntimeError: half installed"
    assert told == [f"store other: {why}; its webhooks are answered 503 until it is fixed"]
    assert (fine, broken, retry) == (200, 503, True)
    remedy = "this server's log and `connector check` say why"
    assert body == {"error": f"the platform of this store cannot be loaded; {remedy}"}
    labels = 'outcome="unavailable",platform="myshop",store="other",topic="other"'
    assert counted == [f"connector_webhooks_received_total{{{labels}}} 1.0"]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise RuntimeError('half written')", "cannot be loaded: RuntimeError: half written"),
        (THIRD_PARTY, "platform myshop has no samples, which the tests send"),
        (
            f"{THIRD_PARTY}MyShop.samples = property(lambda self: 1 / 0)",
            "the samples of platform myshop cannot be loaded: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_half_written_platform_does_not_stop_the_tests_of_others(installed, source, why):
    """The tests of all platforms leave it out, and say why."""
    code = (
        "from tests.support.platforms import LEFT_OUT, PLATFORMS, SAMPLES\n"
        "print(json.dumps([LEFT_OUT, list(PLATFORMS), list(SAMPLES)]))"
    )
    told, platforms, samples = python(code, path=[installed(source)])
    assert told.keys() == {"myshop", *LEFT_OUT}
    assert told["myshop"].endswith(why)
    assert platforms == samples == [name for name in BUILT_IN if name not in LEFT_OUT]


@pytest.mark.processes
def test_two_packages_of_one_name_are_told(installed):
    """Neither is taken by chance; the built-in one is not replaced silently either."""
    folder = installed(THIRD_PARTY, "shopify")
    code = (
        "from connector.core.registry import installed_platforms as all\n"
        "print(json.dumps([all().fault('shopify'), all().fault('woocommerce')]))"
    )
    why, fine = python(code, path=[folder])
    assert "platforms.shopify:platform and by myshop:platform" in why
    assert fine == ""


@each_row(
    ("reference", "why"),
    [
        ("no_such_module:platform", "cannot be loaded: ModuleNotFoundError"),
        ("connector.core.registry:nothing", "cannot be loaded: AttributeError"),
        ("connector.core.registry:GROUP", "is not a Platform object of that name"),
        ("platforms.shopify:platform", "is not a Platform object of that name"),
    ],
)
def test_a_platform_that_is_none(reference, why):
    """Said in a sentence, again and again; its facts are the defaults."""
    registry = PlatformRegistry({"x": (reference,)})
    for _ in range(2):
        with pytest.raises(BrokenPlatform, match=why):
            registry["x"]
    assert why in registry.fault("x")
    assert registry.facts("x") == PlatformFacts()
    assert registry.title("x") == "x"
    assert "x" in registry


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", ""),
        ("del MyShop.name", "is not a Platform object of that name"),
        ("del MyShop.title", "title must be a text"),
        ("MyShop.title = ' '", "title must be a text"),
        ("del MyShop.event_topics", "event_topics must be a set of texts"),
        ("MyShop.event_topics = 'sold'", "event_topics must be a set of texts"),
        ("MyShop.event_topics = {1}", "event_topics must be a set of texts"),
        ("MyShop.recorded_topics = ['erase']", "recorded_topics must be a set of texts"),
        ("MyShop.facts = {}", "facts must be PlatformFacts"),
    ],
)
def test_a_platform_with_a_wrong_attribute_is_broken(tmp_path, monkeypatch, line, why):
    """Told when it is loaded, not by the first webhook or command that needs the attribute."""
    (tmp_path / "faulty.py").write_text(f"{THIRD_PARTY}{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    fault = PlatformRegistry({"myshop": ("faulty:platform",)}).fault("myshop")
    assert fault.endswith(why)
    assert bool(fault) == bool(why)


def test_an_unknown_platform():
    """A KeyError, as of any mapping, and a sentence that lists those there are."""
    registry = PlatformRegistry({"one": ("a:b",), "two": ("c:d",)})
    with pytest.raises(KeyError):
        registry["three"]
    assert registry.fault("three") == "platform three is not installed; installed are one, two"
    assert registry.get("three") is None


def test_names_are_in_alphabetical_order():
    """Messages list them; and each built-in one is found once, though pyproject.toml declares it, too."""
    found = find_platforms()
    assert list(found) == sorted(found)
    assert found["shopify"] == ("platforms.shopify:platform",)


@pytest.mark.processes
def test_receiving_loads_no_client_no_samples_and_no_snippet():
    """Only what verifies and translates is loaded by the server."""
    code = (
        "from connector.core.registry import installed_platforms as all\n"
        "import connector.web.application\n"
        "[each.event_topics for each in all().values()]\n"
        "print(json.dumps([each for each in sys.modules]))"
    )
    loaded = python(code)
    assert {"platforms.shopify.translate", "platforms.woocommerce.translate"} <= set(loaded)
    kinds = ("shop_api", "api_client", "rest_client", "samples", "snippet")
    assert not [name for name in loaded if name.startswith("platforms.") and name.endswith(kinds)]
    assert not [name for name in loaded if name.startswith(("connector.plugin.testing", "connector.plugin.snippet"))]
    assert not {"shopify", "woocommerce", "pyactiveresource", "requests"} & set(loaded)


@pytest.mark.processes
def test_the_public_surface_is_light():
    """A platform loads neither web framework, database nor HTTP client by it."""
    loaded = python("import connector.plugin\nprint(json.dumps([*sys.modules]))")
    assert not {"flask", "werkzeug", "sqlalchemy", "httpx", "phonenumbers", "click"} & set(loaded)


def test_what_a_platform_need_not_have():
    """Neither API nor snippet nor samples: each is None."""

    class Least(Platform):
        name = "least"
        title = "Least"
        event_topics = frozenset()

        def translate(self, webhook, store):
            return ()

        def topic_of(self, request):
            return ""

    least = Least()
    assert (least.shop_api, least.snippet, least.samples) == (None, None, None)
    assert least.facts == PlatformFacts()
    assert least.recorded_topics == frozenset()
