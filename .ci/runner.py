"""Runs checks one after the other on one stage, and says what became of each."""

import signal
import sys
import tempfile
import traceback
from pathlib import Path

from props import Ended, Failed, Process, Skipped


def main(prefix, stage_in, checks):
    """`stage_in(folder)` sets the stage in a folder of this prefix, which is gone afterwards; returns the exit code. What a
    stage has to say when a check fails is its `tail()`; what it has to end, its `close()`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    counts, failures, stage = {"passed": 0, "failed": 0, "skipped": 0}, [], None
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        try:
            stage = stage_in(Path(folder))
            for sentence, function in checks:
                try:
                    told_more = function(stage)
                    counts["passed"] += 1
                    print(f"ok - {sentence}" + (f" ({told_more})" if told_more else ""), flush=True)
                except Skipped as reason:
                    counts["skipped"] += 1
                    print(f"skipped - {sentence} ({reason})", flush=True)
                except Exception as error:  # a check that breaks has failed
                    counts["failed"] += 1
                    details = str(error) if isinstance(error, (Failed, Ended)) else traceback.format_exc()
                    details = f"{details}\n{stage.tail()}"
                    failures.append(f"NOT OK - {sentence}\n" + "\n".join(f"    {line}" for line in details.splitlines()))
                    print(failures[-1], flush=True)
        except (Failed, Ended) as error:
            counts["failed"] += 1
            print(f"NOT OK - setting the stage\n{error}", flush=True)
        finally:
            if stage:
                stage.close()
            Process.kill_all()
    # Once more at the end, where someone who has only the end of a log finds them.
    for failure in failures:
        print(failure[:2000])
    line = f"{counts['passed']} passed, {counts['failed']} failed"
    print(line + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return 1 if counts["failed"] else 0
