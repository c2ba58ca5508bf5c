"""Home Assistant comes and goes while other things go on: it is told everything, and each text that it missed once."""

from tests.publish.mqtt.scripted import Scripted
from tests.publish.mqtt.station import Station
from tests.publish.test_files import final
from tests.waiting import ticks, until

NO_SUBSCRIBERS = 0x10
AVAILABILITY, STATE = "flowpi/desk/availability", "flowpi/desk/state"
FINAL, LAST = "flowpi/desk/transcript/final", "flowpi/desk/transcript/last"


async def online(script: Scripted) -> None:
    """Wait until the appliance has said all that it says after a connection."""
    await until(lambda: script.published.count(AVAILABILITY) == 2)
    await ticks()
    script.published.clear()


async def miss(station: Station, script: Scripted, *numbers: int) -> None:
    """Say texts while Home Assistant is away."""
    script.home_assistant(b"offline")
    await ticks()
    await station.say(*numbers)
    await until(lambda: script.published.count(FINAL) == len(numbers))
    await until(lambda: final(numbers[-1]).id.encode() in script.position)  # else the last one would be owed again
    await ticks()
    script.published.clear()


async def test_a_text_that_comes_while_home_assistant_is_welcomed(station: Station, script: Scripted) -> None:
    async with station.run(script.url, last=True):
        await station.ready()
        await online(script)
        script.puback = lambda topic: None if topic == STATE else 0
        script.home_assistant(b"online")
        await until(lambda: STATE in script.published)
        await station.say(1)
        await until(lambda: LAST in script.published)
        script.acknowledge()
        await until(lambda: AVAILABILITY in script.published)
    assert not station.said


async def test_it_comes_while_what_it_missed_is_published(station: Station, script: Scripted) -> None:
    async with station.run(script.url):
        await station.ready()
        await online(script)
        await miss(station, script, 1, 2)
        script.puback = lambda topic: None if topic == FINAL else 0
        script.home_assistant(b"online")
        await until(lambda: FINAL in script.published)
        script.published.clear()
        script.hang_up()
        await until(lambda: FINAL in script.published)
        script.published.clear()
        script.home_assistant(b"online")
        await until(lambda: AVAILABILITY in script.published)
        await ticks()
        assert FINAL not in script.published  # the first is not acknowledged
        script.puback = lambda topic: 0
        script.acknowledge()
        await until(lambda: FINAL in script.published)
        await ticks()
        assert script.published.count(FINAL) == 1


async def test_it_may_have_come_while_there_was_no_connection(station: Station, script: Scripted) -> None:
    async with station.run(script.url):
        await station.ready()
        await online(script)
        await miss(station, script, 1, 2)
        script.hang_up()
        await until(lambda: script.published.count(AVAILABILITY) == 2)
        assert script.published.count(FINAL) == 2
        await ticks()
        await station.say(3)
        await until(lambda: script.published.count(FINAL) == 3)
        script.published.clear()
        script.home_assistant(b"online")
        await until(lambda: AVAILABILITY in script.published)
        await ticks()
        assert FINAL not in script.published  # it has them


async def test_it_is_still_away_after_a_connection(station: Station, script: Scripted) -> None:
    script.kept = b"offline"
    async with station.run(script.url):
        await station.ready()
        await online(script)
        await miss(station, script, 1, 2)
        script.hang_up()
        await until(lambda: script.published.count(AVAILABILITY) == 2)
        await ticks()
        assert FINAL not in script.published
        script.home_assistant(b"online")
        await until(lambda: script.published.count(FINAL) == 2)


async def test_it_is_there_when_a_kept_message_says_so(station: Station, script: Scripted) -> None:
    script.kept = b"online"
    async with station.run(script.url):
        await station.ready()
        await online(script)
        await ticks()
        assert not script.published  # it was told all that by the connection
        await miss(station, script, 1, 2)
        script.home_assistant(b"online", retained=True)
        await until(lambda: script.published.count(FINAL) == 2)


async def test_it_is_away_if_nobody_is_subscribed_to_what_it_is_told(station: Station, script: Scripted) -> None:
    """As after a restart of the broker, which has no "offline" of it."""
    script.puback = lambda topic: NO_SUBSCRIBERS if topic.startswith("homeassistant/") else 0
    async with station.run(script.url):
        await station.ready()
        await online(script)
        await station.say(1)
        await until(lambda: final(1).id.encode() in script.position)
        assert script.published.count(FINAL) == 1
        script.hang_up()
        await until(lambda: script.published.count(AVAILABILITY) == 2)
        await ticks()
        assert script.published.count(FINAL) == 1
        script.puback = lambda topic: 0
        script.home_assistant(b"online")
        await until(lambda: script.published.count(FINAL) == 2)
        await station.say(2)
        await until(lambda: script.published.count(FINAL) == 3)
        script.published.clear()
        script.home_assistant(b"online")
        await until(lambda: AVAILABILITY in script.published)
        await ticks()
        assert FINAL not in script.published  # it was there
