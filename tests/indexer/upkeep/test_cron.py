"""Schedules: the next time is later, fits its fields, and is told once where clocks are put forward or back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.upkeep.cron import BadSchedule, Cron

ZONES = ["UTC", "Europe/Berlin", "Asia/Shanghai", "America/St_Johns"]
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(moment=MOMENTS, minute=st.integers(0, 59), hour=st.integers(0, 23), zone=st.sampled_from(ZONES))
def test_a_daily_time_comes_within_a_day_and_an_hour_and_fits(moment, minute, hour, zone):
    due = Cron(f"{minute} {hour} * * *", zone).after(moment)
    assert moment < due <= moment + timedelta(hours=25)
    there = due.astimezone(ZoneInfo(zone))
    is_shifted = there.utcoffset() != (there - timedelta(hours=12)).utcoffset()  # the hour may be one that is left out
    assert is_shifted or (there.hour, there.minute) == (hour, minute)


@given(moment=MOMENTS, minutes=st.sampled_from([1, 5, 15, 30]), zone=st.sampled_from(ZONES))
def test_following_times_are_steps_of_the_schedule(moment, minutes, zone):
    cron = Cron(f"*/{minutes} * * * *", zone)
    due = cron.after(moment)
    assert due - moment <= timedelta(minutes=minutes)
    assert cron.after(due) - due == timedelta(minutes=minutes)


def test_what_is_due_in_an_hour_that_is_left_out_is_due_at_its_end_and_in_a_doubled_hour_once():
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert nightly.after(datetime(2026, 3, 29, tzinfo=UTC)) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    once = nightly.after(datetime(2026, 10, 24, 22, tzinfo=UTC))
    assert once == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert nightly.after(once) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("", "UTC", "'' is no schedule (it should have 5 fields); write minute, hour"),
        ("* * * * * *", "UTC", "it should have 5 fields"),
        ("61 * * * *", "UTC", "is no schedule (bad minute)"),
        ("0 0 31 2 *", "UTC", "is no schedule (bad day-of-month)"),
        ("nightly at 3 o clock", "UTC", "is no schedule (bad"),
        ("0 3 * * *", "Mars/Olympus", "There is no time zone 'Mars/Olympus'; use a name such as"),
        ("0 3 * * *", "../../etc/passwd", "There is no time zone"),
        ("0 3 * * *", "Europe", "There is no time zone 'Europe'"),
        ("0 3 * * *", "", "There is no time zone ''"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_sentence(expression, zone, said):
    with pytest.raises(BadSchedule) as refused:
        Cron(expression, zone).after(datetime(2026, 1, 1, tzinfo=UTC))
    assert said in str(refused.value)
