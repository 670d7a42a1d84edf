/** What the one file has instead of libatomic: its bytes are those of its assembly, and do what they must. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MACHINES } from '../../scripts/build/elf.ts';
import { PROCESSORS, replaceLibatomic } from '../../scripts/build/libatomic.ts';
import { findNode } from '../../scripts/build/packages.ts';
import { notApplicable, unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Two threads count to a million together; then one exchange that fails, and one of another size. */
const HARNESS = String.raw`
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
_Bool exchange(size_t size, void *at, void *expected, void *desired, int success, int failure);
static uint64_t counter __attribute__((aligned(8)));
static void *count(void *none) {
  for (int done = 0; done < 500000; done++) {
    uint64_t expected = 0, desired;
    do desired = expected + 0x100000001; while (!exchange(8, &counter, &expected, &desired, 5, 5));
  }
  return none;
}
int main(void) {
  pthread_t one, other;
  pthread_create(&one, 0, count, 0);
  pthread_create(&other, 0, count, 0);
  pthread_join(one, 0);
  pthread_join(other, 0);
  uint64_t expected = 7, desired = 8;
  int isDone = exchange(8, &counter, &expected, &desired, 5, 5);
  printf("%lx %d %lx\n", counter, isDone, expected);
  fflush(stdout);
  exchange(4, &counter, &expected, &desired, 5, 5);
  puts("another size is accepted");
}
`;

const OWN = process.arch === 'arm64' ? 'arm64' : 'x64';

function assemblyOf(machine: number): string {
  return `${PROCESSORS[machine]?.code.map(([, assembly]) => assembly).join('\n') ?? ''}\n`;
}

/** Of this machine: Node.js itself, as the build takes it. */
const NODE = Buffer.from(await readFile(await findNode(OWN, new AbortController().signal)));
const OWN_PROCESSOR = PROCESSORS[MACHINES[OWN]];

test('what Node.js may need of it in the future ends the build', () => {
  const changed = Buffer.from(NODE);
  replaceLibatomic(changed);
  assert(!changed.equals(NODE));
  assert.throws(() => replaceLibatomic(changed), /does not need libatomic\.so\.1 any more/);

  const otherFunction = Buffer.from(NODE);
  otherFunction.write('__atomic_compare_exchangf\0', otherFunction.indexOf('__atomic_compare_exchange\0'));
  assert.throws(
    () => replaceLibatomic(otherFunction),
    /needs from libatomic\.so\.1: __atomic_compare_exchangf;/,
  );

  const otherSize = Buffer.from(NODE);
  const setting = Buffer.from(OWN_PROCESSOR?.setsEight ?? '', 'hex');
  for (let at = 0; (at = otherSize.indexOf(setting, at)) !== -1; at++)
    otherSize.fill(0, at, at + setting.length);
  assert.throws(() => replaceLibatomic(otherSize), /calls __atomic_compare_exchange at 0x\w+ with a size/);
});

for (const [name, assembler, tools] of [
  ['x64', 'as', ['as']],
  ['arm64', 'aarch64-linux-gnu-as', ['aarch64-linux-gnu-as']],
] as const) {
  const skip =
    name === 'x64' && process.arch !== 'x64'
      ? notApplicable('the assembler is for another processor')
      : unlessInstalled(...tools);
  test(`the bytes for ${name} are what an assembler makes`, { skip }, async () => {
    await using folder = await tempDir();
    const [object, bytes] = [join(folder.path, 'object'), join(folder.path, 'bytes')];
    await runOk(assembler, ['-o', object, '-'], { input: assemblyOf(MACHINES[name]) });
    const objcopy = assembler.replace(/as$/, 'objcopy');
    await runOk(objcopy, ['-O', 'binary', '-j', '.text', object, bytes]);
    const expected = PROCESSORS[MACHINES[name]]?.code.map(([instruction]) => instruction).join('');
    assert.equal((await readFile(bytes)).toString('hex'), expected);
  });
}

test('it exchanges, compares and refuses as it should', { skip: unlessInstalled('cc') }, async () => {
  await using folder = await tempDir();
  const [source, assembly, program] = ['a.c', 'b.s', 'c'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(source, HARNESS);
  await writeFile(
    assembly,
    `.globl exchange\nexchange:\n${assemblyOf(MACHINES[OWN])}.section .note.GNU-stack,"",@progbits\n`,
  );
  await runOk('cc', ['-O1', '-pthread', '-o', program, source, assembly]);
  const { signal, stdout } = await run(program, []);
  assert.equal(stdout, 'f4240000f4240 0 f4240000f4240\n');
  assert.equal(signal, OWN === 'x64' ? 'SIGILL' : 'SIGTRAP');
});
