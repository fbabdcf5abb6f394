"""Steps that follow one another use the same pages."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, jax, jax.numpy as jnp
if {tuned}:
    import lamina.core
x = jnp.zeros(8 << 20, "float32")  # 32 MiB
step = jax.jit(lambda x: x + 1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
seen = []
for _ in range(20):
    before = faults()
    step(x).block_until_ready()
    seen.append(faults() - before)
print(min(seen[3:]))  # of single steps, because the machine has other things to do
"""


def faults_per_step(tuned=True, **variables):
    environment = {k: v for k, v in os.environ.items() if "MALLOC" not in k} | variables
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(tuned=tuned)],
        capture_output=True, text=True, check=True, env=environment, timeout=120,
    )  # fmt: skip
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_steps_use_the_pages_of_the_steps_before():
    untouched = faults_per_step(tuned=False)
    assert untouched > 1000  # otherwise there is nothing to gain
    assert faults_per_step() < untouched / 20


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize(
    "chosen", [{"MALLOC_TOP_PAD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=131072"}]
)
def test_what_the_user_chose_stays(chosen):
    assert faults_per_step(**chosen) > 1000
