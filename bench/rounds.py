"""Proxies under the same load, in turns: what `run` and `peers` do."""

import contextlib
import statistics
import time

import kit


def arguments(parser, results):
    parser.add_argument("--duration", type=int, default=5, help="seconds of load for each case in a round, one at a time (5)")
    parser.add_argument("--warmup", type=int, default=1, help="seconds of load before it (1)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is started and measured anew (5)")
    parser.add_argument("--core", type=int, default=0, help="core of the proxy (0)")
    parser.add_argument("--load-core", type=int, default=1, help="core of load and backends (1)")
    parser.add_argument("--results", default=str(results), help="file of results")


def measure(start, load, folder, options):
    """One round: every case's proxy is started anew, and they are loaded in turns, so that a slow moment meets all.
    `start(case, folder, port)` starts one."""
    sums = {case: {"cpu": 0.0, "requests": 0, "errors": 0, "seconds": 0.0} for case in options.cases}
    with contextlib.ExitStack() as stack:
        proxies = {}
        for case in options.cases:
            port = kit.free_port()
            proxy = stack.enter_context(start(case, folder, port))
            headers = dict(header.split(": ") for header in load.headers)
            sums[case]["start"] = proxy.wait_for_answer(port, load.path, headers, tls=load.tls)
            load.put(folder, port, options.warmup, options.load_core)
            proxies[case] = (proxy, port)
        for _ in range(0, options.duration, load.slice):
            for case, (proxy, port) in proxies.items():
                before, began = proxy.cpu_seconds(), time.monotonic()
                came = load.put(folder, port, load.slice, options.load_core)
                sums[case]["cpu"] += proxy.cpu_seconds() - before
                sums[case]["requests"] += came["requests"]
                sums[case]["errors"] += came["errors"]
                sums[case]["seconds"] += time.monotonic() - began
                sums[case]["memory"] = proxy.memory()[0]
    return {case: {
        "cpu": total["cpu"] / max(total["requests"], 1) * 1e6,
        "rate": total["requests"] / max(total["seconds"], 1e-9),
        "errors": total["errors"],
        "start": total["start"],
        "memory": total["memory"],
    } for case, total in sums.items()}


def figures(start, load, folder, options):
    """All rounds: for each case, what each round gave."""
    figures = {case: [] for case in options.cases}
    for number in range(1, options.rounds + 1):
        for case, came in measure(start, load, folder, options).items():
            figures[case].append(came)
            print(f"round {number}: {case:16} {came['cpu']:6.2f} us of CPU a request, {came['rate']:8.0f} requests/s, "
                  f"{came['errors']} errors", flush=True)
    return figures


def report(figures, names, load, section, options):
    rows = []
    for case, rounds in figures.items():
        ratios = [came["cpu"] / nginx["cpu"] for came, nginx in zip(rounds, figures.get("nginx", []))]
        rows.append([
            names[case],
            kit.spread([came["cpu"] for came in rounds]),
            kit.spread(ratios) if ratios else "-",
            f"{statistics.median(came['rate'] for came in rounds):.0f}",
            str(sum(came["errors"] for came in rounds)),
        ])
    head = ["case", "CPU per request, us", "ratio to bare nginx in the same round", "requests/s", "errors"]
    text = (f"{kit.machine()}\n\nMedian of {options.rounds} rounds of {options.duration} times 1 s (least to greatest); "
            f"{load.what}; {load.connections} connections, proxy on core {options.core}, "
            f"load and backends on core {options.load_core}.\n\n" + kit.table(head, rows))
    kit.section(options.results, section, text)
