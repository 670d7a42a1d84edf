import assert from 'node:assert/strict';
import { totalmem } from 'node:os';
import { test } from 'node:test';
import { checkTableFits, machineMemoryBytes } from '../../../receiver/transfer/memory-budget.ts';
import { coded } from '../../support/coded.ts';

const MIB = 2 ** 20;
const TIB = 2 ** 40;

test('a table that takes more than half of the memory is refused, with a block size that fits', () => {
  // 2^15 blocks of 33 bytes are 1,081,344 bytes.
  const geometry = { sizeBytes: 2 ** 31, blockSizeBytes: 2 ** 16 };
  checkTableFits(geometry, 2 * 1_081_344);
  const refused = coded('bad-request', {
    message: /^a table of 32768 blocks takes 1\.0 MiB: more than half of the receiver's memory of 2\.1 MiB$/,
    hint: /^ddt-send --block-size 128KiB$/,
  });
  assert.throws(() => checkTableFits(geometry, 2 * 1_081_343), refused);
  const large = { sizeBytes: 64 * TIB, blockSizeBytes: 4 * MIB };
  assert.throws(() => checkTableFits(large, 600 * MIB), coded('bad-request', { hint: /--block-size 8MiB$/ }));
  const noWay = coded('bad-request', { hint: /^the receiver needs more memory$/ });
  for (const blockSizeBytes of [4 * MIB, 16 * MIB]) {
    assert.throws(() => checkTableFits({ ...large, blockSizeBytes }, 100 * MIB), noWay);
  }
});

test('the memory of the machine is at most its physical memory', () => {
  assert(machineMemoryBytes() > 0 && machineMemoryBytes() <= totalmem());
});
