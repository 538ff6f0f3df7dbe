"""No rate is printed where the numbers differ; README says what was found."""

import datetime
import json
import math
import os
import subprocess
import sys
from unittest import mock

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import memory
from benchmarks.readme import (
    README,
    RESULTS,
    ROOT,
    SHOWN,
    filled,
    short_name,
    short_table,
    stored_results,
)
from benchmarks.rivals import cosine_gap, onnx_path
from benchmarks.timing import (
    Contender,
    as_markdown,
    compare,
    foreign_load,
    summary,
    turns,
)


def race(*contenders: Contender, rounds: int = 3) -> dict:
    """Compare by the absolute difference of numbers."""
    return compare(
        "numbers",
        contenders,
        lambda found, wanted: abs(found - wanted),
        rounds,
    )


def test_a_contender_with_other_numbers_gets_no_rate():
    table = race(
        Contender("first", lambda _: 1.0, 0),
        Contender("near", lambda _: 1.01, 0.1),
        Contender("far", lambda _: 1.2, 0.1),
        Contender("none", lambda _: math.nan, 0.1),
    )
    assert [r["name"] for r in table["rows"] if "ratio" in r] == [
        "first",
        "near",
    ]
    lines = as_markdown(table).split("\n")
    for name in ("far", "none"):
        (line,) = [x for x in lines if x.startswith(f"| {name} ")]
        assert "no rate" in line
    assert table["rows"][0]["ratio"] == 1


def test_other_numbers_get_no_bytes_and_every_row_has_all_cells():
    near = {"name": "near", "error": 1e-6, "tolerance": 1e-5}
    far = {"name": "far", "error": 2e-5, "tolerance": 1e-5}
    held = {"title": "t", "rows": [near | {"loaded": 2e6, "peak": 3e6}, far]}
    timed = race(
        Contender("a", lambda _: 1.0, 0), Contender("b", lambda _: 2.0, 0)
    )
    for table in (held, timed):
        _, _, *lines = as_markdown(table).strip().split("\n")
        rows = [line for line in lines if line.startswith("|")]
        assert len(rows) == 4 and len({r.count("|") for r in rows}) == 1
    printed = as_markdown(held)
    assert "| near | 2 | 3 | 1.0e-06 | 1e-05 |" in printed
    assert "| far | no number: differs | | 2.0e-05 |" in printed


def test_what_was_held_counts_memory_that_was_given_back():
    program = """
import psutil
from benchmarks.memory import most_held

before = most_held()
held = bytearray(b"x") * (before + 100_000_000)
del held
assert most_held() > before + 90_000_000
assert psutil.Process().memory_info().rss < most_held() - 90_000_000
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_contenders_take_turns_and_prepare_anew():
    seen = []

    def contender(name: str) -> Contender:
        return Contender(
            name, lambda state: seen.append(state) or 0, 0, lambda: name
        )

    race(contender("a"), contender("b"))
    # The first one's numbers, the check of both, and three rounds.
    assert "".join(seen) == "a" + "ab" + "ab" + "ba" + "ab"


def test_each_begins_a_round_and_none_runs_always_behind_the_same():
    names = "abcde"
    contenders = [Contender(name, lambda _: 0, 0) for name in names]
    rounds = [
        "".join(c.name for c in turns(contenders, done)) for done in range(5)
    ]
    assert [order[0] for order in rounds] == list(names)
    assert all(sorted(order) == list(names) for order in rounds)
    for name in names:
        before = [r[r.index(name) - 1] for r in rounds if r[0] != name]
        assert len(set(before)) > 1


def test_few_rounds_tell_the_range_and_more_the_quartiles():
    base, times = [4.0] * 5, [4.0, 2.0, 1.0, 1.0, 0.5]  # ratios 1 2 4 4 8
    few, more = summary(times[:4], base[:4]), summary(times, base)
    assert (few["ratio_low"], few["ratio_high"]) == (1, 4)
    assert (few["ratio"], more["ratio"]) == (3, 4)
    assert (more["ratio_low"], more["ratio_high"]) == (2, 4)
    for rounds, spread, head in (
        (4, "range", "lowest to highest"),
        (5, "quartiles", "quartiles"),
    ):
        table = race(Contender("a", lambda _: 1.0, 0), rounds=rounds)
        assert table["spread"] == spread
        assert f"| times as fast | {head} |" in as_markdown(table)


def test_a_second_measure_is_told_and_decides_nothing():
    wanted = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    turned = torch.tensor([[2.0, 0.0], [4.0, 3.0]])
    assert cosine_gap(turned, wanted) == pytest.approx(1 - 24 / 25)
    assert cosine_gap(turned, wanted[:1]) == math.inf
    table = compare(
        "vectors",
        [
            Contender("first", lambda _: wanted, 0),
            Contender("turned", lambda _: turned, 1),
        ],
        lambda found, expected: (found - expected).abs().max().item(),
        2,
        cosine_gap,
    )
    assert [r["cosine_gap"] for r in table["rows"]] == pytest.approx([0, 0.04])
    assert "ratio" in table["rows"][1]
    printed = as_markdown(table)
    assert "| error | 1 - cosine | tolerance |" in printed
    assert "| 1.0e+00 | 4.0e-02 | 1e+00 |" in printed


def test_foreign_load_is_what_others_did():
    assert foreign_load((0, 0, 0), (10, 15, 5)) == 1
    assert foreign_load((0, 0, 0), (10, 5, 5)) == 0


def test_systems_without_proc_are_asked_for_the_most_held(
    monkeypatch, tmp_path
):
    resource = pytest.importorskip("resource")  # Windows has none
    monkeypatch.setattr(memory, "SYSTEM_TOLD", tmp_path / "none")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for platform, unit in (("darwin", 1), ("freebsd", 1024)):
        monkeypatch.setattr(memory.sys, "platform", platform)
        assert memory.most_held() == pytest.approx(most * unit, rel=0.05)


def test_an_export_by_other_versions_is_another_file(monkeypatch):
    names = set()
    for number, graph in (("1.0", 1), ("1.1", 1), ("1.1", 2)):
        monkeypatch.setattr(
            "benchmarks.rivals.version", lambda _, number=number: number
        )
        monkeypatch.setattr("benchmarks.rivals.GRAPH_VERSION", graph)
        names |= {onnx_path().name, onnx_path(int8=True).name}
    assert len(names) == 6
    assert "base-graph-2-torch-1.1-transformers-1.1-onnx-1.1.onnx" in names


def test_a_missing_package_is_refused_in_words(monkeypatch):
    monkeypatch.setitem(command.SUBJECTS, "loading", ("torch", "absent_one"))
    with pytest.raises(
        SystemExit,
        match="loading: not installed, but wanted: absent_one.*\n"
        ".* -m pip install .*-r benchmarks/requirements.txt",
    ):
        command.refuse_missing(["loading"])


def test_a_python_without_any_package_gets_no_traceback():
    told = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks", "forward"],
        cwd=ROOT,
        env={n: v for n, v in os.environ.items() if n != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1 and "Traceback" not in told.stderr
    for package in ("torch", "psutil", "onnxruntime"):
        assert package in told.stderr


def test_an_unknown_subject_is_refused_in_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loading", "speeed"])
    with pytest.raises(SystemExit):
        command.main()
    told = " ".join(capsys.readouterr().err.split())
    assert "no subject: speeed; wanted any of tokenizer, loading," in told


def test_the_help_names_the_subjects(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    with pytest.raises(SystemExit):
        command.main()
    told = " ".join(capsys.readouterr().out.split())
    assert ", ".join(command.SUBJECTS) in told
    assert "[SUBJECT ...]" in told and "[]" not in told


def test_the_commit_is_told_and_whether_the_tree_is_changed(
    monkeypatch, tmp_path
):
    for name in os.environ:
        if name.startswith("GIT_"):  # would lead to another repository
            monkeypatch.delenv(name)

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *who, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    assert command.commit(tmp_path) == "unknown"
    git("init", "--quiet")
    (tmp_path / "code").write_text("1")
    git("add", ".")
    git("commit", "--quiet", "--message", "One", "--no-gpg-sign")
    short = git("rev-parse", "--short", "HEAD")
    assert command.commit(tmp_path) == short
    results = tmp_path / command.RESULTS
    results.mkdir(parents=True)
    (results / "new.json").write_text("{}")
    assert command.commit(tmp_path) == short
    (tmp_path / "code").write_text("2")
    assert command.commit(tmp_path) == f"{short}-dirty"


def test_each_subject_keeps_its_day_and_commit(monkeypatch, tmp_path, capsys):
    out = tmp_path / "results" / "here.json"
    out.parent.mkdir()
    out.write_text('{"memory": {"tables": []}, "loading": {"tables": []}}')
    table = race(Contender("a", lambda _: 1.0, 0))
    monkeypatch.setattr(command, "run_subject", lambda _: [table])
    monkeypatch.setattr(command, "commit", lambda _: "abc1234")
    monkeypatch.setattr(command, "refuse_missing", lambda _: None)
    monkeypatch.setattr(
        sys, "argv", ["benchmarks", "loading", "--out", str(out)]
    )
    command.main()
    kept = json.loads(out.read_text())
    assert kept["memory"] == {"tables": []}
    assert list(kept["loading"]) == ["machine", "date", "commit", "tables"]
    assert kept["loading"]["date"] == datetime.date.today().isoformat()
    assert kept["loading"]["commit"] == "abc1234"
    assert "commit abc1234" in capsys.readouterr().out


SHOWN_HERE = ("logits", "bert, optimize")


def results_of(cpu: str, rival: float) -> dict:
    """What a results file holds of one table, where one rival may win."""
    ours = {"name": "bert, optimize", "error": 4e-6, "tolerance": 1e-5}
    return {
        "forward": {
            "machine": {
                "cpu": cpu,
                "instructions": "AVX512",
                "cores": 2,
                "threads": 1,
                "versions": {"torch": "2.0"},
            },
            "date": "2026-11-30",
            "tables": [
                {
                    "title": "Forward, 1 x 16 tokens; the row says else",
                    "rounds": 3,
                    "foreign_load": 0.1,
                    "rows": [
                        ours | {"name": "transformers, sdpa", "ratio": 1.0},
                        ours | {"name": "ONNX Runtime", "ratio": rival},
                        ours
                        | {"name": "ONNX Runtime, int8", "ratio": 9.0}
                        | {"error": 0.1, "tolerance": 0.2},
                        ours | {"ratio": 2.256},
                        ours | {"name": "bert, more", "ratio": 4.0},
                    ],
                }
            ],
        }
    }


def written(folder, **files: dict) -> dict:
    """The results files that lie in a folder, once written and read."""
    for name, stored in files.items():
        (folder / f"{name}.json").write_text(json.dumps(stored))
    return stored_results(folder)


def lines_of(results: dict[str, dict]) -> list[str]:
    """The README's lines about one table of these results."""
    only = {"Forward, 1 x 16 tokens": SHOWN_HERE}
    with mock.patch.dict(SHOWN, only, clear=True):
        return short_table(results).split("\n")


def test_the_readme_shows_each_machine_beside_its_fastest_rival(tmp_path):
    xeon = results_of("Intel(R) Xeon(R) Processor @ 2.10GHz", rival=2.0)
    results = written(tmp_path, a=results_of("AMD EPYC", 2.82), b=xeon)
    # Not int8, which is less exact than ours must be, nor another of ours.
    assert lines_of(results) == [
        "| what | against | AMD EPYC, AVX512 | Intel Xeon, AVX512 |",
        "|---|---|---|---|",
        "| logits | transformers, sdpa | **2.26**; 2.82 ONNX Runtime | "
        "**2.26**; 2.00 ONNX Runtime |",
        "",
        "- AMD EPYC (AVX512), 2 cores, 1 threads; torch 2.0; measured on "
        "2026-11-30, while other work kept 0.10 to 0.10 cores busy.",
        "- Intel(R) Xeon(R) Processor @ 2.10GHz (AVX512), 2 cores, 1 threads;"
        " torch 2.0; measured on 2026-11-30, while other work kept 0.10 to "
        "0.10 cores busy.",
        "",
    ]


def test_the_first_contender_is_no_rival():
    (row,) = lines_of({"A": results_of("A", rival=0.8)})[2:3]
    assert row.endswith("| **2.26**; 0.80 ONNX Runtime |")


def test_a_row_may_lack_a_rate_or_a_machine():
    first, second = results_of("A", 1.5), results_of("B", 1.5)
    del first["forward"]["tables"][0]["rows"][3]["ratio"]
    second["forward"]["tables"][0]["title"] = "Forward, 2 x 16 tokens"
    (row,) = lines_of({"A": first, "B": second})[2:3]
    assert row.endswith("| differs; 1.50 ONNX Runtime | not measured |")


def test_a_table_that_nobody_measured_or_against_another_is_refused():
    one, other = results_of("A", 1.5), results_of("B", 1.5)
    other["forward"]["tables"][0]["rows"][0]["name"] = "another"
    with pytest.raises(ValueError, match=r"\['another', 'transformers, sdpa'"):
        lines_of({"A": one, "B": other})
    one["forward"]["tables"][0]["title"] = "Backward"
    with pytest.raises(ValueError, match=r"against \[\], wanted one"):
        lines_of({"A": one})


def test_every_stored_table_of_times_is_shown():
    for stored in stored_results(RESULTS).values():
        for kept in stored.values():
            for table in kept["tables"]:
                if "rounds" in table:
                    assert table["title"].partition(";")[0] in SHOWN


def test_the_marks_stay_and_what_stood_between_them_goes():
    readme = "Before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nAfter"
    stored = stored_results(RESULTS)
    found = filled(readme, stored)
    assert found.startswith("Before\n") and found.endswith("\nAfter")
    assert "old" not in found and filled(found, stored) == found
    with pytest.raises(ValueError, match="README.md has no <!-- speed"):
        filled("Before", stored)


def test_results_that_cannot_be_told_apart_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found no .json, wanted one or more"):
        stored_results(tmp_path)
    same = results_of("AMD EPYC", 1.0)
    with pytest.raises(
        ValueError, match="b.json is the second .* 'AMD EPYC, AVX"
    ):
        written(tmp_path, a=same, b=same)


@pytest.mark.parametrize(
    "cpu, instructions, name",
    [
        ("AMD EPYC", "AVX2", "AMD EPYC, AVX2"),
        (
            "Intel(R) Xeon(R) Processor @ 2.10GHz",
            "AVX512, AMX_BF16",
            "Intel Xeon, AMX_BF16",
        ),
        (
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            "AVX512",
            "Intel Xeon Platinum 8481C, AVX512",
        ),
    ],
)
def test_the_short_name_of_a_machine_has_no_marks(cpu, instructions, name):
    assert short_name({"cpu": cpu, "instructions": instructions}) == name


def test_the_readme_shows_the_results():
    readme = README.read_text("utf-8")
    assert filled(readme, stored_results(RESULTS)) == readme
