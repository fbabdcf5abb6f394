"""Tells at the end how much was drawn."""


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name == "random graphs":
                shown = ", ".join(f"{n} {what}" for what, n in counts.items())
                terminalreporter.write_line(f"random graphs: {shown}")
