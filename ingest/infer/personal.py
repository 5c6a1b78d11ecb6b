"""Which columns look personal, by their names and by what stands in them; a doubt counts as personal."""

from __future__ import annotations

import re

from ingest.infer.names import plain_name, words_of

_WORDS = frozenset(
    """
    email mail courriel phone telephone mobile cell tel fax telefon handy
    birth birthday birthdate dob born geburtstag geburtsdatum naissance
    iban bic swift ssn passport nin nino itin tin taxid steuernummer
    address street road postcode postal zip zipcode plz adresse anschrift strasse rue hausnummer
    firstname lastname surname forename fullname givenname middlename maiden vorname nachname prenom
    nombre apellido username login nickname password passwort secret token ssid
    gender sex geschlecht ethnicity race religion nationality disability diagnosis salary wage gehalt
    latitude longitude ip fingerprint signature photo
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_PHRASES = (
    "first_name", "last_name", "middle_name", "given_name", "family_name", "full_name", "maiden_name", "user_name",
    "e_mail", "social_security", "national_id", "tax_id", "id_card", "credit_card", "card_number", "bank_account",
    "account_number", "sort_code", "driving_licence", "driver_license", "insurance_number", "date_of_birth",
    "ip_address", "home_town", "emergency_contact", "next_of_kin", "marital_status", "blood_type",
)  # fmt: skip
_PEOPLE = frozenset(
    """
    customer customers client clients user users employee employees person persons people contact contacts patient
    patients member members staff subscriber subscribers student students applicant applicants candidate candidates
    guest guests tenant tenants passenger passengers lead leads owner author agent manager driver kunde kunden
    mitarbeiter personal recipient buyer signer cardholder holder
    """.split()  # noqa: SIM905
)
_VALUES = (
    re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    re.compile(r"[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){3,7}( ?[A-Z0-9]{1,3})?"),
    re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
    re.compile(r"\+[0-9][0-9 ()./-]{7,18}"),
    re.compile(r"\(?0[0-9]{1,5}\)?[ /-][0-9][0-9 -]{4,14}"),
    re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}"),
)
_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}\.[A-Za-z]{2,}")
_ACCOUNT = re.compile(r"\b[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){3,7}\b")
_LONGEST = 80


def personal_by_name(column: str, dataset: str) -> bool:
    """Whether a column's name speaks of a person: `Email`, `date_of_birth`, `name` of the dataset `customers`."""
    name, words = plain_name(column, ""), words_of(column)
    if words & _WORDS or any(phrase in name for phrase in _PHRASES):
        return True
    return bool(words & {"name", "names"}) and bool((words | words_of(dataset)) & _PEOPLE)


def personal_value(text: str) -> bool:
    """Whether a whole value is an e-mail address, IBAN, social security number, telephone number or IP address."""
    stripped = text.strip()
    if len(stripped) > _LONGEST or stripped.isalpha() or stripped.isdecimal():
        return False
    return any(pattern.fullmatch(stripped) for pattern in _VALUES)


def personal_inside(text: str) -> bool:
    """Whether an e-mail address or IBAN stands somewhere in a longer text."""
    return ("@" in text and _ADDRESS.search(text) is not None) or _ACCOUNT.search(text) is not None
