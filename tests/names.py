"""Sentences with rare names, spoken by espeak-ng, and how many of the names a recognised text has right."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.speech import read_wav

SENTENCES = {
    "Maravelle": "Please send the report to Doctor Maravelle before noon.",
    "Penwarden": "The patient takes Penwarden twice a day with a little food.",
    "Wexcombe": "We will meet at the railway station in Wexcombe.",
    "Thandrel": "I spoke to Mister Thandrel about the new contract.",
    "Millbrook Dane": "The lawyers of Millbrook Dane will call you back tomorrow.",
    "Dravenport": "Her sister moved to Dravenport three years ago.",
    "Silvestrine": "Increase the dose of Silvestrine to ten milligrams.",
    "Kellington": "The road to Kellington is closed because of the snow.",
    "Bergstrand": "Please copy Bergstrand on every letter to the bank.",
    "Farrowby Glass": "We ordered forty windows from Farrowby Glass last week.",
    "Paxodine": "She is allergic to penicillin and to Paxodine.",
    "Hesketh Brand": "The meeting with Hesketh Brand starts at half past nine.",
    "Marwick": "My neighbour Marwick has a very old tractor.",
    "Castleton Grange": "The kitchen at the Castleton Grange was painted green.",
    "Pellingrove": "He went to school in Pellingrove with my brother.",
    "Mirtazole": "There was no change after a month of Mirtazole.",
    "Jessamund": "Thank you for the flowers, Jessamund.",
    "Stavrick": "The engine was built by Stavrick in the north.",
    "Ullesmoor": "There is a good bakery on the corner in Ullesmoor.",
    "Navarrin": "Ask Navarrin for the key to the garden.",
    "Brindlecote": "The house in Brindlecote was sold for a good price.",
    "Valeska": "I think that Valeska should read the first chapter.",
    "Cortaline": "We stopped Cortaline on the second day of the week.",
    "Hollis Wray": "The dog belongs to Hollis Wray and her father.",
    "Granville Stokes": "Put the boxes for Granville Stokes behind the door.",
    "Felburn Harbour": "The ferry from Felburn Harbour leaves every hour.",
    "Thomasin Hale": "Give my best regards to Thomasin Hale and the children.",
    "Ravenol": "The blood test was normal under Ravenol.",
}
"""What is said, by the rare name in it."""

OTHERS = [
    "Abernook",
    "Adelmira",
    "Aldergast",
    "Amoxivane",
    "Ashcroyd",
    "Balvenor",
    "Barrowmead",
    "Bexolane",
    "Birchwain",
    "Calverdine",
    "Carbostatin",
    "Castlerigg",
    "Cendrillac",
    "Clovermarsh",
    "Colbrandt",
    "Cranmoor",
    "Daltavine",
    "Dorrington",
    "Drummelzier",
    "Eastergrove",
    "Elvedine",
    "Emberlyn",
    "Erlestoke",
    "Fairlocke",
    "Fenwarren",
    "Flucorvan",
    "Galantine",
    "Gildermoor",
    "Glasterby",
    "Hadrelline",
    "Hallowick",
    "Harkaway",
    "Hexaprine",
    "Inglemere",
    "Isendra",
    "Ivorsen",
    "Jolmarine",
    "Juniveth",
    "Kelmarsh",
    "Kirkandrel",
    "Lanthorpe",
    "Levomirin",
    "Lindquarry",
    "Lysandrel",
    "Marchbanks",
    "Metrolazine",
    "Monkswell",
    "Norvaline",
    "Nuthampton",
    "Oakhanger",
    "Oxcarvine",
    "Palgravine",
    "Pemberlow",
    "Prendagast",
    "Quarrington",
    "Ravensholt",
    "Rosmarine",
    "Sandrelle",
    "Selkworth",
    "Sorbitane",
    "Thistledown",
    "Tiverane",
    "Umberleigh",
    "Valdecott",
    "Vernamoor",
    "Wainscott",
    "Winterslow",
    "Yarrowdale",
    "Zopravine",
]
"""Names that nobody says."""

NAMES = (*SENTENCES, *OTHERS)


@dataclass(frozen=True)
class Counted:
    """How many of the spoken names were written, and the names that were written although nobody said them."""

    right: int
    added: list[str]


@cache
def spoken(text: str) -> bytes:
    """Return the text as the voice of espeak-ng says it: int16 mono 16 kHz, the same in each run."""
    with tempfile.TemporaryDirectory(prefix="flowpi-names-") as directory:
        file = Path(directory, "spoken.wav")
        subprocess.run(["espeak-ng", "-v", "en-gb", "-s", "150", "-w", str(file), text], check=True)
        return read_wav(file)


def counted(heard: dict[str, str]) -> Counted:
    """Count the names in the texts that were heard, by the name that was said."""
    right = sum(has(text, name) for name, text in heard.items())
    return Counted(right, [other for name, text in heard.items() for other in names_in(text) if other != name])


def names_in(text: str) -> list[str]:
    return [name for name in NAMES if has(text, name)]


def has(text: str, name: str) -> bool:
    """Return whether a text has a name as whole words, in any case."""
    return re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None
