"""What becomes of an utterance: texts, failures, faults, stats."""

import asyncio

import pytest

from flowpi.audio.utterance import PartId
from flowpi.backends.result import Timings
from flowpi.core.errors import SpoolError
from flowpi.core.faults import LED
from flowpi.core.indicator import light
from flowpi.core.lights import NO_BACKEND, READY
from flowpi.core.rules import Rules
from flowpi.dsp.level import Level
from flowpi.editing.editor import EditedText
from flowpi.wire.roles import FinalText, PartialText
from tests.appliance.harness import ConductorHarness, opened
from tests.sound import noise, spoken, ulid


class TestWhatBecomesOfIt:
    async def test_the_final_text(self, harness: ConductorHarness) -> None:
        await asyncio.sleep(10)
        await harness.record("start")
        utterance = harness.delivery.begun[0]
        utterance.append(noise(1.5))
        await asyncio.sleep(1.5)
        await harness.record("stop")
        await asyncio.sleep(0.25)
        await harness.publish(utterance, "It was.")
        (final,) = harness.of("transcript/final")
        assert final == {
            "id": utterance.id, "part": 1, "text": "It was.", "language": "en", "backend": "house",
            "started_at": final["started_at"], "duration_s": 1.5, "final_after_s": 0.25, "late": False,
        }  # fmt: skip
        assert [one.id for one in harness.committed] == [utterance.id]
        stats = harness.of("stats")[-1]
        assert stats["delivered"] == stats["dictations"] == 1
        timings = [stats[f"{name}_ms"] for name in ("press_to_first_packet", "release_to_commit")]
        assert timings == [-250.0, -750.0]  # by the times that this test's delivery made up
        assert stats["release_to_final_ms"] == 250.0
        assert stats["final_to_published_ms"] == 0.0

    async def test_one_that_was_not_confirmed_says_so(self, harness: ConductorHarness) -> None:
        utterance = spoken(bytes(3200))
        await harness.announcer.publish(utterance, FinalText("It was.", "en", confirmed=False), "x", Timings(), False)
        await harness.announcer.publish(spoken(bytes(3200), ulid(2)), FinalText("", "en"), "x", Timings(), False)
        unconfirmed, confirmed = harness.of("transcript/final")
        assert unconfirmed["confirmed"] is False
        assert "confirmed" not in confirmed

    async def test_an_edited_one_has_what_the_recogniser_wrote_beside_it(self, harness: ConductorHarness) -> None:
        edited = EditedText("It was!", "en", raw="It was.", rewritten=True)
        await harness.announcer.publish(spoken(bytes(3200)), edited, "x", Timings(), False)
        by_rules = EditedText("It was!", "en", raw="It was.")
        await harness.announcer.publish(spoken(bytes(3200), ulid(2)), by_rules, "x", Timings(), False)
        first, second = harness.of("transcript/final")
        assert (first["text"], first["raw"], first["rewritten"]) == ("It was!", "It was.", True)
        assert second["raw"] == "It was."
        assert "rewritten" not in second

    async def test_one_of_an_earlier_life_has_no_timings(self, harness: ConductorHarness) -> None:
        await harness.publish(spoken(noise(1.0)), late=True)
        (final,) = harness.of("transcript/final")
        assert (final["late"], final["final_after_s"], final["duration_s"]) == (True, None, 1.0)
        assert harness.of("stats")[-1]["release_to_final_ms"] is None

    async def test_a_text_that_cannot_be_kept_is_a_fault_until_one_can(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        harness.disk_full = True
        with pytest.raises(SpoolError):
            await harness.publish(harness.delivery.begun[0])
        assert harness.faults == ["transcripts"]
        harness.announcer.deferred(harness.delivery.begun[0], "the disk is full")
        assert harness.faults == ["transcripts"]  # the backend did its part
        assert harness.statistics.snapshot().delivered == 0
        harness.disk_full = False
        await harness.publish(harness.delivery.begun[0])
        assert harness.faults == []
        assert len(harness.of("transcript/final")) == 1  # who heard it need not hear it again

    async def test_deferred_and_delivered_late(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        utterance = harness.delivery.begun[0]
        harness.delivery.spooled = 1
        harness.announcer.deferred(utterance, "no answer")
        assert harness.of("transcript/failed") == [
            {"id": utterance.id, "part": 1, "reason": "no answer", "retry": True}
        ]
        assert (harness.faults, harness.of("state")[-1]["spooled"]) == (["backend"], 1)
        assert harness.conductor.state.name == "idle"
        harness.delivery.spooled = 0
        harness.announcer.backlog_changed()
        assert harness.of("state")[-1]["spooled"] == 0
        harness.delivery.backend = "house"
        await harness.publish(utterance, late=True)
        assert (harness.faults, harness.of("state")[-1]["backend"]) == ([], "house")
        assert harness.told[-1] == ("idle", 0)
        assert (harness.statistics.snapshot().deferred, harness.statistics.snapshot().delivered) == (1, 1)

    async def test_without_a_network_is_a_fault_of_its_own(self, harness: ConductorHarness) -> None:
        for without_network, code in ((True, "network"), (False, "backend"), (True, "network")):
            await harness.record("start")
            await harness.record("stop")
            utterance = harness.delivery.begun[-1]
            harness.announcer.deferred(utterance, "x", without_network=without_network)
            assert harness.faults == [code]
        await harness.publish(utterance, late=True)
        assert harness.faults == []

    async def test_a_fault_gives_the_latest_reason(self, harness: ConductorHarness) -> None:
        """The recogniser was not there, and is now, but has no text yet."""
        await harness.record("start")
        await harness.record("stop")
        utterance = harness.delivery.begun[0]
        part = utterance.part_id
        harness.announcer.deferred_again(part, "of an earlier run", without_network=False)
        assert harness.faults == []  # nobody was told that it is late: it waits from before
        harness.announcer.deferred(utterance, "nobody listens", without_network=True)
        harness.announcer.deferred_again(part, "no text in time", without_network=False)
        (fault,) = harness.of("state")[-1]["faults"]
        assert (fault["code"], fault["message"]) == ("backend", "no text in time")
        harness.announcer.deferred_again(part, "no route", without_network=True)
        (fault,) = harness.of("state")[-1]["faults"]
        assert (fault["code"], fault["message"]) == ("network", "no route")

    async def test_what_its_owner_drops_is_neither_kept_nor_delivered(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        harness.light.clear()
        harness.announcer.dropped(harness.delivery.begun[0].part_id)
        await asyncio.sleep(10)
        assert harness.conductor.state.name == "idle"
        assert harness.light == [0.0]

    async def test_the_next_press_does_not_wait_for_the_text(self, harness: ConductorHarness) -> None:
        for _ in range(2):
            await harness.record("start")
            await harness.record("stop")
        first, second = harness.delivery.begun
        await harness.publish(first)
        assert harness.conductor.state.name == "finishing"
        await harness.publish(second)
        assert harness.conductor.state.name == "idle"

    @pytest.mark.usefixtures("jumping_clock")
    async def test_a_text_that_does_not_come_is_told_and_comes_late(self) -> None:
        async with opened(Rules(finish_timeout_s=4.0)) as harness:
            await harness.record("start")
            await harness.record("stop")
            await asyncio.sleep(5)
            assert (harness.conductor.state.name, harness.faults) == ("idle", ["backend"])
            assert light(harness.conductor.state) is NO_BACKEND
            await harness.publish(harness.delivery.begun[0])
            assert harness.of("transcript/final")[0]["late"]
            assert harness.faults == []

    async def test_digital_silence_is_a_failure_and_no_text(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        harness.delivery.begun[0].append(bytes(32_000))
        await harness.record("stop")
        await harness.publish(harness.delivery.begun[0], "Thank you.")
        assert harness.of("transcript/final") == []
        assert harness.committed == []
        (failed,) = harness.of("transcript/failed")
        assert not failed["retry"]
        assert harness.conductor.state.name == "idle"
        await asyncio.sleep(0.5)
        assert harness.light[-1] == 0.0  # no moment: nothing was delivered
        assert (harness.statistics.snapshot().delivered, harness.statistics.snapshot().failed) == (0, 1)

    async def test_what_is_cut_short_says_so(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        utterance = harness.delivery.begun[0]
        utterance.append_gap(160)
        utterance.finish(1.0, partial=True)
        await harness.publish(utterance)
        assert harness.of("transcript/final")[0]["partial"]
        assert harness.of("transcript/final")[0]["lost_ms"] == 10

    async def test_a_file_that_cannot_be_read_is_told_and_counted(self, harness: ConductorHarness) -> None:
        harness.announcer.quarantined(PartId(ulid(1), 2), "not an utterance", 1)
        (failed,) = harness.of("transcript/failed")
        assert (failed["id"], failed["part"], failed["retry"]) == (ulid(1), 2, False)
        assert harness.faults == ["quarantine"]
        assert harness.of("stats")[-1]["quarantined"] == 1
        assert light(harness.conductor.state) is READY
        harness.announcer.quarantined(None, "", 0)
        assert harness.faults == []

    async def test_partial_texts_and_levels(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        utterance = harness.delivery.begun[0]
        harness.announcer.partial(utterance, PartialText("It", "en"), "house")
        partial = {"id": utterance.id, "part": 1, "text": "It", "language": "en", "backend": "house", "stable": 0}
        assert harness.of("transcript/partial") == [partial]
        harness.microphone.level(Level(-20.0, -10.0, False))
        assert harness.of("level") == [{"dbfs": -20.0, "peak_dbfs": -10.0, "clipped": False}]

    async def test_what_two_partial_texts_of_a_part_agree_on_is_settled(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        live, late = harness.delivery.begun[0], spoken(noise(1.0))
        for utterance, text in ((live, "It was"), (late, "He"), (live, "It was the"), (late, "He said")):
            harness.announcer.partial(utterance, PartialText(text, "en"), "house")
        assert [one["stable"] for one in harness.of("transcript/partial")] == [0, 0, len("It was"), len("He")]

    @pytest.mark.parametrize("end", ["delivered", "deferred", "deferred_again", "failed", "cancelled"])
    async def test_a_part_that_is_recognised_anew_has_nothing_settled(
        self, harness: ConductorHarness, end: str
    ) -> None:
        await harness.record("start")
        utterance = harness.delivery.begun[0]
        harness.announcer.partial(utterance, PartialText("It was", "en"), "house")
        ends = {
            "delivered": lambda: harness.announcer.delivered(utterance),
            "deferred": lambda: harness.announcer.deferred(utterance, "later"),
            "deferred_again": lambda: harness.announcer.deferred_again(utterance.part_id, "x", without_network=False),
            "failed": lambda: harness.announcer.failed(utterance.part_id, "never"),
            "cancelled": lambda: harness.announcer.cancelled(utterance),
        }
        ends[end]()
        harness.announcer.partial(utterance, PartialText("It was the", "en"), "house")
        assert harness.of("transcript/partial")[-1]["stable"] == 0

    async def test_a_spool_that_fails_is_a_fault_until_it_works(self, harness: ConductorHarness) -> None:
        harness.announcer.spool_failed(SpoolError("the disk is full", "free some space"))
        assert harness.of("state")[-1]["faults"][0]["message"] == "the disk is full: free some space"
        harness.announcer.spool_works()
        assert harness.faults == []

    async def test_a_backend_that_refuses_is_a_fault_until_its_owner_acted(self, harness: ConductorHarness) -> None:
        for refusals in (["check the key"], ["check the key"], ["one", "two"]):
            harness.announcer.refusals_changed(refusals)
            (fault,) = harness.of("state")[-1]["faults"]
            assert fault["code"] == "refused"
            assert fault["message"] == "; ".join(refusals)
        assert light(harness.conductor.state) is READY  # another backend may work
        harness.announcer.refusals_changed([])
        assert harness.faults == []

    async def test_a_panel_that_fails_does_not_keep_from_talking(self, harness: ConductorHarness) -> None:
        harness.inbox.raise_fault(LED, "the LED is gone")
        assert harness.faults == ["led"]
        assert (await harness.record("start"))["state"] == "recording"
        harness.inbox.clear_fault(LED)
        assert harness.faults == []
