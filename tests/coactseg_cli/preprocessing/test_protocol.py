"""Changes of the protocol, and what is none."""

import pytest

from coactseg_cli.preprocessing.protocol import NUMBERS, TEXTS, name_of, protocol_checks

BEFORE = {
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Skyra",
    "SoftwareVersions": "syngo MR E11",
    "MRAcquisitionType": "3D",
    "ContrastBolusIngredient": "GADOLINIUM",
    "MagneticFieldStrength": 3,
    "RepetitionTime": 5.0,
    "EchoTime": 0.387,
    "InversionTime": 1.8,
    "SliceThickness": 1.0,
}


def flags(before, after):
    return [c.name for c in protocol_checks([before, after], ["01", "02"]) if c.flagged]


def test_the_same_protocol_is_checked_field_by_field_and_passes():
    checks = protocol_checks([BEFORE, dict(BEFORE)], ["01", "02"])
    assert {c.name for c in checks} == {name_of(field) for field in (*TEXTS, *NUMBERS)}
    assert not any(c.flagged for c in checks)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Manufacturer", "GE"),
        ("ManufacturersModelName", "Vida"),
        ("SoftwareVersions", "syngo MR XA30"),
        ("MRAcquisitionType", "2D"),
        ("ContrastBolusIngredient", "IODINE"),
        ("MagneticFieldStrength", 1.5),
        ("RepetitionTime", 9.0),
        ("EchoTime", 0.12),
        ("InversionTime", 2.5),
        ("SliceThickness", 3.0),
    ],
)
def test_each_field_flags_itself_with_both_values(field, value):
    (flag,) = [c for c in protocol_checks([BEFORE, BEFORE | {field: value}], ["01", "02"]) if c.flagged]
    assert (flag.name, flag.session) == (name_of(field), "02")
    assert f"{BEFORE[field]} then, {value} now" in flag.reason


@pytest.mark.parametrize("nothing", [None, "", "n/a", "unknown"])
def test_unknown_is_no_change(nothing):
    assert protocol_checks([BEFORE, dict.fromkeys(BEFORE, nothing)], ["01", "02"]) == ()
    assert protocol_checks([{}, BEFORE], ["01", "02"]) == ()


def test_rounding_spelling_and_nonsense_are_no_change():
    assert flags(BEFORE, BEFORE | {"MagneticFieldStrength": 2.89, "Manufacturer": " SIEMENS", "EchoTime": 0.39}) == []
    assert "protocol-echo-time" not in {c.name for c in protocol_checks([BEFORE, BEFORE | {"EchoTime": "0.4 s"}], ["01", "02"])}
    assert flags(BEFORE, BEFORE | {"EchoTime": [0.1, 0.2], "RepetitionTime": True, "InversionTime": -1}) == []


def test_each_visit_is_compared_with_the_one_before():
    other = BEFORE | {"Manufacturer": "GE"}
    checks = protocol_checks([BEFORE, other, other], ["01", "02", "03"])
    assert [(c.name, c.session) for c in checks if c.flagged] == [("protocol-manufacturer", "02")]


def test_names():
    assert [name_of(f) for f in ("MRAcquisitionType", "ManufacturersModelName")] == [
        "protocol-mr-acquisition-type",
        "protocol-manufacturers-model-name",
    ]
