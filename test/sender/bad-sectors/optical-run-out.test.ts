import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doubtsOf } from '../../../sender/preflight/caveats.ts';
import { isoSizeOf, runOutOf, runOutText, type RunOut } from '../../../sender/bad-sectors/optical-run-out.ts';

const ISO_BYTES = 300 * 2048;

function descriptorOf(blocks: number, blockBytes: number): Buffer {
  const descriptor = Buffer.alloc(2048);
  descriptor.write('\u0001CD001\u0001', 'latin1');
  descriptor.writeUInt32LE(blocks, 80);
  descriptor.writeUInt32BE(blocks, 84);
  descriptor.writeUInt16LE(blockBytes, 128);
  return descriptor;
}

test('the end of the file system is that of isosize', () => {
  assert.equal(isoSizeOf(descriptorOf(300, 2048)), ISO_BYTES);
  assert.equal(isoSizeOf(Buffer.alloc(2048)), undefined);
  assert.equal(isoSizeOf(Buffer.alloc(10)), undefined);
  const supplementary = descriptorOf(300, 2048);
  supplementary[0] = 2;
  assert.equal(isoSizeOf(supplementary), undefined);
});

test('run-out is a short area past the file system of an optical disc', () => {
  const descriptor = descriptorOf(300, 2048);
  const disc = { sizeBytes: ISO_BYTES + 4096, logicalSectorBytes: 2048 };
  assert.deepEqual(runOutOf(disc, descriptor), { isoSizeBytes: ISO_BYTES, sizeBytes: disc.sizeBytes });
  // An ISO image on a stick; a disc with several sessions; nothing past the end.
  assert.equal(runOutOf({ ...disc, logicalSectorBytes: 512 }, descriptor), undefined);
  assert.equal(runOutOf({ ...disc, sizeBytes: ISO_BYTES + 2 ** 21 }, descriptor), undefined);
  assert.equal(runOutOf({ ...disc, sizeBytes: ISO_BYTES }, descriptor), undefined);
});

test('only unreadable areas that reach the end are called run-out', () => {
  const runOut: RunOut = { isoSizeBytes: ISO_BYTES, sizeBytes: ISO_BYTES + 6144 };
  const text = runOutText(runOut, '/dev/sr0', [
    [2048, 2048],
    [ISO_BYTES + 2048, 4096],
  ]);
  assert.equal(
    text,
    'the last 4 KiB of /dev/sr0 are past the end of the file system (isosize 614400): ' +
      'run-out of the disc, not data',
  );
  assert.equal(runOutText(runOut, '/dev/sr0', [[ISO_BYTES + 2048, 2048]]), undefined);
  assert.equal(runOutText(runOut, '/dev/sr0', [[ISO_BYTES - 2048, 8192]]), undefined);
  assert.equal(runOutText(undefined, '/dev/sr0', [[ISO_BYTES + 2048, 4096]]), undefined);
});

test('a copy with unreadable areas is not proven, and names the list of them', () => {
  const description = { description: 'optical drive', path: '/dev/sr0', model: null, serial: null };
  const runOut: RunOut = { isoSizeBytes: ISO_BYTES, sizeBytes: ISO_BYTES + 4096 };
  const source = { description, runOut };
  assert.deepEqual(doubtsOf({ verified: 'read-back', unreadable: [] }, source, []), {
    warnings: [],
    hint: undefined,
  });
  const facts = { verified: 'none', unreadable: [[ISO_BYTES, 4096]] } as const;
  const { warnings, hint } = doubtsOf(facts, source, ['a.json', 'b.map']);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0] ?? '', /nothing was read back/);
  assert.match(warnings[1] ?? '', /^4096 bytes in 1 area of \/dev\/sr0 .*; listed in a.json and b.map$/);
  assert.match(warnings[2] ?? '', /^the last 4 KiB of \/dev\/sr0 .*not data$/);
  // There is nothing to recover.
  assert.equal(hint, undefined);
  const damaged = { verified: 'read-back', unreadable: [[0, 2048]] } as const;
  assert.match(doubtsOf(damaged, source, []).hint ?? '', /run the same command again/);
});
