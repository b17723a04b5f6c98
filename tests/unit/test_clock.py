from haven.clock import BootClock


def test_boot_clock_never_goes_back() -> None:
    clock = BootClock()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
