"""Commands that ask a shop: they say that they wait, and end, against a shop over sockets; in real time."""

import signal
import time

import pytest
from click.testing import CliRunner, Result

from connector.cli.main import main
from connector.core.shop_api import ShopApiError
from connector.sync.shop_wait import ShopWait
from tests.support.factories import a_section, a_stores_file
from tests.support.fakes.woocommerce import FakeWooCommerce

PUBLIC = "https://connector.example"
SOON = 60.0  # seconds, on a busy machine; without the limit it would be two minutes or for ever


@pytest.fixture
def fake():
    with FakeWooCommerce() as fake:
        yield fake


def run(fake, *arguments, url=None, **environ) -> tuple[Result, float]:
    beans = a_section(
        "woocommerce",
        "beans",
        url=url or fake.url,
        shop=fake.url,
        api={"consumer_key": "${KEY}", "consumer_secret": "${KEY_SECRET}"},
    )
    toml = a_stores_file(beans, webhook_secrets=["whsec-0123456789abcdef"], access_token="token")
    environ = {"STORES_TOML": toml, "KEY": fake.key, "KEY_SECRET": fake.secret, "PUBLIC_URL": PUBLIC, **environ}
    begun = time.monotonic()
    return CliRunner(env=environ).invoke(main, arguments), time.monotonic() - begun


class TestWaiting:
    @pytest.mark.slow
    def test_a_shop_in_maintenance(self, fake):
        """WooCommerce's retries would take two minutes in silence."""
        fake.fail("busy", times=100, status=503)
        result, seconds = run(fake, "webhooks", "list", "beans", "--wait", "12s")
        assert result.exit_code == 1
        assert seconds < SOON
        first, last = result.stderr.splitlines()
        assert first == "store beans: the shop is busy or does not answer; the next attempt is in 10 s"
        assert last.startswith("connector: store beans: the shop gave no usable answer within 12 seconds: ")
        assert "--wait" in last

    @pytest.mark.slow
    def test_a_shop_that_does_not_answer(self, fake):
        """Neither is a request that hangs waited for in silence, nor for longer than told."""
        fake.fail("hang", times=100)
        result, seconds = run(fake, "webhooks", "list", "beans", "--wait", "7s")
        assert result.exit_code == 1
        assert 7 <= seconds < SOON
        first, last = result.stderr.splitlines()
        assert first == "store beans: waiting for the shop's answer (5 s so far)"
        assert "no usable answer within 7 seconds" in last

    @pytest.mark.slow
    def test_check_goes_on_with_the_next_store(self, fake):
        """A fault like any other."""
        fake.fail("hang", times=100)
        result, seconds = run(fake, "check", "--live", "--wait", "1s", PUBLIC_URL="")
        assert result.exit_code == 1
        assert seconds < SOON
        assert "✗ store beans: the shop gave no usable answer within 1 second" in result.stdout

    def test_backfill(self, fake):
        """Says it too."""
        fake.fail("hang", times=100)
        result, seconds = run(fake, "backfill", "beans", "--since", "1d", "--wait", "1s")
        assert (result.exit_code, seconds < SOON) == (1, True)

    @pytest.mark.parametrize("wait", ["30", "soon", "0s", "-1s"])
    def test_a_wait_is_a_duration(self, fake, wait):
        result, _ = run(fake, "webhooks", "list", "beans", "--wait", wait)
        assert result.exit_code == 2
        assert "is not a duration" in result.output

    @pytest.mark.slow
    def test_progress_begins_the_wait_anew(self):
        """It is the silence that is limited, not the work; and the handler of before is put back."""
        said, now, before = [], [0.0], signal.getsignal(signal.SIGALRM)
        with ShopWait(0.3, said.append, elapsed=lambda: now[0]) as wait:
            for _ in range(4):
                now[0] += 0.2
                wait.progress()
            signal.pause()  # until the next look, which finds nothing wrong
            now[0] += 0.3
            with pytest.raises(ShopApiError, match="no usable answer"):
                signal.pause()
        assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == (before, (0.0, 0.0))
        assert said == []


class TestList:
    """The exit status says whether all is in place, for scripts."""

    def test_missing_or_switched_off(self, fake):
        assert run(fake, "webhooks", "list", "beans")[0].exit_code == 1
        for topic in ("order.created", "order.updated", "customer.created", "action.wc_tiktok_initiate_checkout"):
            hook = fake.hook(topic, f"{PUBLIC}/webhooks/beans")
        assert run(fake, "webhooks", "list", "beans")[0].exit_code == 0
        hook.status = "disabled"
        assert run(fake, "webhooks", "list", "beans")[0].exit_code == 1
