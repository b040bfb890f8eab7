"""Countries of invented shoppers: currency, tax, and typical addresses, names and phone numbers.

Phone numbers are from the ranges that regulators reserve for fiction or, in countries without such a range (Japan,
Brazil), from blocks full of zeros.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Place:
    """A city. The region's name and the codes used by shop systems are empty where forms do not ask for a region."""

    city: str
    zip: str
    region: str = ""
    region_code: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Country:
    """A market: currency, tax, and typical addresses, names and phone numbers."""

    code: str
    name: str
    currency: str
    symbol: str
    locale: str
    tax_name: str
    tax_rate: Decimal
    places: tuple[Place, ...]
    streets: tuple[str, ...]  # {n} is the house number
    first_names: tuple[str, ...]  # "name|name in ASCII letters" where they differ
    last_names: tuple[str, ...]
    phones: tuple[str, ...]  # each # is a random digit


COUNTRIES = (
    Country(
        code="US",
        name="United States",
        currency="USD",
        symbol="$",
        locale="en-US",
        tax_name="State Tax",
        tax_rate=Decimal("0.0625"),
        places=(
            Place("Boston", "02118", "Massachusetts", "MA", "MA"),
            Place("Austin", "78704", "Texas", "TX", "TX"),
            Place("Chicago", "60614-2203", "Illinois", "IL", "IL"),
        ),
        streets=("{n} Quince Street", "{n} Old Mill Rd", "{n} Harbor Ave"),
        first_names=("Marisol", "Dwayne", "Priya", "Tobias", "Renée|renee"),
        last_names=("Okonjo", "Fairweather", "Núñez|nunez", "O'Dell|odell"),
        phones=("(617) 555-01##", "512.555.01##", "+1 312-555-01##", "773-555-01##"),
    ),
    Country(
        code="CA",
        name="Canada",
        currency="CAD",
        symbol="$",
        locale="en-CA",
        tax_name="HST",
        tax_rate=Decimal("0.13"),
        places=(
            Place("Toronto", "M6K 3P6", "Ontario", "ON", "ON"),
            Place("Ottawa", "K1N 5W3", "Ontario", "ON", "ON"),
        ),
        streets=("{n} Larch Crescent", "{n} Rue de l'Érable"),
        first_names=("Maëlle|maelle", "Gordon", "Anouk", "Sunita"),
        last_names=("Bélanger-Roy|belangerroy", "MacTavish", "Dhaliwal"),
        phones=("416-555-01##", "(613) 555-01##", "+1 (647) 555-01##"),
    ),
    Country(
        code="GB",
        name="United Kingdom",
        currency="GBP",
        symbol="£",
        locale="en-GB",
        tax_name="VAT",
        tax_rate=Decimal("0.20"),
        places=(
            Place("London", "SE15 4QL", "England", "ENG"),
            Place("Bristol", "BS6 5QE", "England", "ENG"),
        ),
        streets=("{n} Tanner's Row", "Flat 2, {n} Lavender Hill"),
        first_names=("Imogen", "Rhys", "Siân|sian", "Zadie"),
        last_names=("Thistlewood", "Pemberly-Ash", "Owusu"),
        phones=("020 7946 0###", "+44 20 7946 0###", "0117 496 0###"),
    ),
    Country(
        code="DE",
        name="Germany",
        currency="EUR",
        symbol="€",
        locale="de-DE",
        tax_name="MwSt.",
        tax_rate=Decimal("0.19"),
        places=(Place("Berlin", "10999", state="DE-BE"), Place("Köln", "50674", state="DE-NW")),
        streets=("Lindenstraße {n}", "Am Mühlgraben {n}"),
        first_names=("Jürgen|juergen", "Lieselotte", "Änne|aenne", "Cem"),
        last_names=("Großkopf|grosskopf", "Müllerbach|muellerbach", "Yıldızhan|yildizhan"),
        phones=("030 23125 ###", "0171 39200 ##", "+49 30 23125###"),
    ),
    Country(
        code="FR",
        name="France",
        currency="EUR",
        symbol="€",
        locale="fr-FR",
        tax_name="TVA",
        tax_rate=Decimal("0.20"),
        places=(Place("Lyon", "69004"), Place("Saint-Étienne", "42000")),
        streets=("{n} rue des Tisserands", "{n} bis, allée du Chêne"),
        first_names=("Éloïse|eloise", "François-Xavier|fx", "Noémie|noemie"),
        last_names=("de La Brière|delabriere", "Œillet|oeillet", "Garçonnet|garconnet"),
        phones=("01 99 00 ## ##", "+33 1 99 00 ## ##"),
    ),
    Country(
        code="JP",
        name="Japan",
        currency="JPY",
        symbol="¥",
        locale="ja-JP",
        tax_name="CT",
        tax_rate=Decimal("0.10"),
        places=(
            Place("世田谷区", "154-0024", "Tōkyō", "JP-13", "JP13"),
            Place("京都市", "604-8005", "Kyōto", "JP-26", "JP26"),
        ),
        streets=("三軒茶屋{n}-3-1", "河原町通{n}丁目"),
        first_names=("さくら|sakura", "健太郎|kentaro", "美咲|misaki"),
        last_names=("山田川|yamadagawa", "渡瀬|watase", "小鳥遊|takanashi"),
        phones=("090-0000-####", "03-0000-####", "+81 90-0000-####"),
    ),
    Country(
        code="BR",
        name="Brazil",
        currency="BRL",
        symbol="R$",
        locale="pt-BR",
        tax_name="",
        tax_rate=Decimal("0"),
        places=(
            Place("São Paulo", "05422-010", "São Paulo", "SP", "SP"),
            Place("Niterói", "24210-200", "Rio de Janeiro", "RJ", "RJ"),
        ),
        streets=("Rua das Jabuticabeiras, {n}", "Travessa São Brás, {n} - apto 31"),
        first_names=("João Vítor|joao", "Conceição|conceicao", "Luíza|luiza"),
        last_names=("Guimarães Prado|prado", "Araújo Lins|lins", "Simões|simoes"),
        phones=("(11) 90000-####", "+55 21 90000-####", "21 90000 ####"),
    ),
)

# No random journey is from here: for tests of a currency with three decimals.
KUWAIT = Country(
    code="KW",
    name="Kuwait",
    currency="KWD",
    symbol="KD",
    locale="ar-KW",
    tax_name="",
    tax_rate=Decimal(0),
    places=(Place("Kuwait City", "15000"),),
    streets=("{n} Harbour Street",),
    first_names=("Noura",),
    last_names=("Example",),
    phones=("+965 2200 0000",),
)
